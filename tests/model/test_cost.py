"""Operations are counted, not guessed: the reference does the counting."""

from microgpt import symmetry
from microgpt.model.cost import forward_flop, step_cost
from microgpt.model.settings import ModelConfig


class Counted:
    """A number that counts the products it takes part in."""

    products = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __mul__(self, other: object) -> "Counted":
        Counted.products += isinstance(other, Counted)
        return Counted(self.value * float(other))  # type: ignore[arg-type]

    def __add__(self, other: object) -> "Counted":
        return Counted(self.value + float(other))  # type: ignore[arg-type]

    def __sub__(self, other: object) -> "Counted":
        return Counted(self.value - float(other))  # type: ignore[arg-type]

    def __truediv__(self, other: object) -> "Counted":
        return Counted(self.value / float(other))  # type: ignore[arg-type]

    def __pow__(self, power: float) -> "Counted":
        return Counted(self.value**power)

    def __neg__(self) -> "Counted":
        return Counted(-self.value)

    def __float__(self) -> float:
        return self.value

    def exp(self) -> "Counted":
        return Counted(symmetry.exp(self.value))

    def log(self) -> "Counted":
        return Counted(symmetry.log(self.value))

    def relu(self) -> "Counted":
        return Counted(symmetry.relu(self.value))


def test_forward_operations_are_twice_the_products_that_the_reference_makes() -> None:
    config = symmetry.Config(emb=8, head=2, layer=2, ctx=6, ff=3)
    weights = {
        name: [[Counted(0.01 * (row + column)) for column in range(columns)] for row in range(rows)]
        for name, (rows, columns) in symmetry.shapes(config, 5).items()
    }
    Counted.products = 0
    symmetry.GPT(config, weights).loss([4, 0, 1, 2, 4])
    norms = 2 * config.emb * (1 + 2 * config.layer) * 4  # squares and scaling, which the cost leaves out
    model = ModelConfig(5, emb=8, head=2, layer=2, ctx=6, ff=3)
    assert forward_flop(model, 4) == 2 * (Counted.products - norms)


def test_the_backward_pass_takes_twice_the_forward_pass() -> None:
    cost = step_cost(ModelConfig(27), [7, 3])
    assert cost.backward == 2 * cost.forward
    assert cost.total == cost.forward + cost.backward + cost.adam
