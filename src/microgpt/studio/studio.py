"""What a studio serves: a folder of runs, runs named on the command line, a store, and the trainings under way."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from microgpt.studio.answers import MissingError

if TYPE_CHECKING:
    from microgpt.studio.scaling import Scaling
    from microgpt.studio.sweeping import Sweeps
    from microgpt.studio.texts import StudioTexts
    from microgpt.studio.trainings import Trainings

WEIGHTS = "weights.safetensors"


@dataclass
class Studio:
    """`named` are runs from anywhere, by the name that the page knows them by."""

    run_folders: Path
    store: Path = Path("lab.db")
    named: dict[str, Path] = field(default_factory=dict)

    def find(self, run_name: str) -> Path:
        """The run folder, or the lone weights file, of this name. Raises `MissingError`.

        A name is no path: nothing outside the folder of runs and the runs named at the start can be reached.
        """
        if run_name in self.named:
            path = self.named[run_name]
            if path.exists():
                return path
        elif is_plain(run_name):
            path = self.run_folders / run_name
            if (path / WEIGHTS).is_file():
                return path
        raise MissingError(
            f"{run_name[:100]}: expected a run of this name, found none; it may have been deleted. Choose another."
        )

    @cached_property
    def trainings(self) -> "Trainings":
        """The trainings of this studio."""
        from microgpt.studio.trainings import Trainings

        return Trainings(self.run_folders, self.texts)

    @cached_property
    def texts(self) -> "StudioTexts":
        """The texts to train on."""
        from microgpt.studio.texts import StudioTexts

        return StudioTexts(self.run_folders)

    @cached_property
    def scaling(self) -> "Scaling":
        """What the store tells."""
        from microgpt.studio.scaling import Scaling

        return Scaling(self.store)

    @cached_property
    def sweeps(self) -> "Sweeps":
        """What fills the store."""
        from microgpt.studio.sweeping import Sweeps

        return Sweeps(self.store)

    def close(self) -> None:
        """Stop and save what is under way."""
        for under_way in (self.__dict__.get("trainings"), self.__dict__.get("sweeps")):
            if under_way:
                under_way.close()


def is_plain(name: str) -> bool:
    """Whether a name from outside can only mean something inside a folder."""
    return (
        0 < len(name) <= 200 and name.isprintable() and not name.startswith(".") and not any(c in name for c in "/\\:")
    )
