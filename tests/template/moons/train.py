"""python -m moons.train -m seed=0,1 lipschitz=plain,penalised"""

import hydra
import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig


@hydra.main(config_path="configs", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    L.seed_everything(cfg.seed, workers=True)
    data, model = instantiate(cfg.data), instantiate(cfg.model)
    callbacks = [instantiate(callback) for callback in {**cfg.callbacks, **cfg.lipschitz}.values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=instantiate(cfg.logger))
    trainer.fit(model, datamodule=data)
    return float(trainer.callback_metrics["val/acc"])


if __name__ == "__main__":
    main()
