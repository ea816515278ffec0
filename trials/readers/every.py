"""All readers there are, but those of the studio, which need its packages."""

from typing import Final

from trials.readers import of_data, of_lab, of_training
from trials.readers.reader import Reader

EVERY: Final[dict[str, Reader]] = {
    reader.name: reader for module in (of_training, of_data, of_lab) for reader in module.READERS
}
