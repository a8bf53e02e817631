"""What each penalty does at equal accuracy, in figures that rescaling does not move: README's table."""
