"""All readers there are, but those of the studio, which need its packages."""

from typing import Final

from tests.hostile import data_readers, lab_readers, training_readers
from tests.hostile.reader import Reader

EVERY: Final[dict[str, Reader]] = {
    reader.name: reader for module in (training_readers, data_readers, lab_readers) for reader in module.READERS
}
