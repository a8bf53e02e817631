"""Networks of images: torchvision's AlexNet and VGG-16, VGG-11 and ResNet-18 for small images, and two for audits."""

from __future__ import annotations

from torch import Tensor, nn


class ImageNet(nn.Module):
    """Features, average pooling to a fixed size, and a classifier; parameter names are torchvision's.

    Random weights; ``load_state_dict`` takes torchvision's own files.
    """

    def __init__(self, features: nn.Sequential, size: int, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier
        self.avgpool = nn.AdaptiveAvgPool2d(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(classes: int = 1000) -> ImageNet:
    """AlexNet for 224 x 224 images (Krizhevsky 2014), 61 million parameters."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True)),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        nn.Linear(4096, classes),
    )
    return ImageNet(features, 6, classifier)


def vgg16(classes: int = 1000) -> ImageNet:
    """VGG-16 without batch norm for 224 x 224 images (Simonyan & Zisserman 2014), 138 million parameters."""
    features, channels = nn.Sequential(), 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            features.extend([nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)])
            channels = width
        features.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()),
        nn.Linear(4096, classes),
    )
    return ImageNet(features, 7, classifier)


def cnn(width: int = 16, classes: int = 10, channels: int = 1, size: int = 28) -> nn.Sequential:
    """Two convolutions of stride 2 and a layer of 100 units: on digits the size that is audited exactly.

    Args:
        width: channels of the first convolution; the second has twice as many.
        classes: outputs.
        channels, size: of the images; the size is a multiple of 4.
    """
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(2 * width * (size // 4) ** 2, 100), nn.ReLU(), nn.Linear(100, classes)),
    )


def lenet(width: int = 8, classes: int = 10, channels: int = 1, size: int = 28) -> nn.Sequential:
    """Two convolutions with stride in place of pooling, and two linear layers: LeCun et al. 1998 as networks have it today.

    Args:
        width: channels of the first convolution; the second has twice as many.
        classes: outputs.
        channels, size: of the images.
    """
    left = ((size - 5) // 2 + 1 - 5) // 2 + 1
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 5, stride=2), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 5, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(2 * width * left**2, 84), nn.ReLU(), nn.Linear(84, classes)),
    )


def vgg11(width: int = 64, classes: int = 10) -> nn.Sequential:
    """VGG-11 with batch norm for images of 32 x 32: five max pools, and one linear layer behind them.

    Args:
        width: channels of the first convolution, 64 in the paper (Simonyan & Zisserman 2014, configuration A).
        classes: outputs.
    """
    features, channels = nn.Sequential(), 3
    for out, depth in ((width, 1), (2 * width, 1), (4 * width, 2), (8 * width, 2), (8 * width, 2)):
        for _ in range(depth):
            features.extend([nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()])
            channels = out
        features.append(nn.MaxPool2d(2))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(channels, classes))


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 with batch norm, and what goes past them: as it is, or through a convolution of 1 x 1."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        past = [nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
        self.past = nn.Sequential(*past) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm1(self.first(x)).relu()
        return (self.norm2(self.second(inner)) + self.past(x)).relu()


def resnet18(width: int = 64, classes: int = 10) -> nn.Sequential:
    """ResNet-18 for images of 32 x 32 (He et al. 2016, with the stem that such images take): eight residual blocks.

    Args:
        width: channels of the first convolution, 64 in the paper.
        classes: outputs.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    for stage in range(4):
        before, out = max(width, width << stage >> 1), width << stage
        layers += [ResidualBlock(before, out, 2 if stage else 1), ResidualBlock(out, out, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, classes))
