"""How long a peer may make us wait while it sends or takes a message: nobody holds a thread by dribbling."""


class Pace:
    """A patience (in seconds) that waiting uses up and bytes, at `rate` a second, restore."""

    __slots__ = ("_patience", "_rate", "left")

    def __init__(self, patience: float, rate: float) -> None:
        self._patience = patience
        self._rate = rate
        self.left = patience

    def waited(self, seconds: float, size: int) -> None:
        """So long for so many bytes."""
        self.left = min(self.left - seconds + size / self._rate, self._patience)

    @property
    def is_over(self) -> bool:
        return self.left <= 0

    def rest(self) -> None:
        """Between messages nobody is waited for."""
        self.left = self._patience
