"""SPEC.md section 2 put together from the witness's operations: one block, position after position, in lists."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tests.sharding.exact import witness as ops
from tests.sharding.exact.golden import Case
from tests.sharding.exact.witness import Head, Vector


@dataclass(slots=True)
class WitnessBlock:
    """A block of one key/value head with its cache, from a case of block.json; c is ATTEND's constant for its head size."""

    case: Case
    constant: int
    keys: list[Head] = field(default_factory=list)
    values: list[Head] = field(default_factory=list)

    def step(self, r: Vector) -> list[int]:
        """The next position: extends the cache, returns its new row."""
        heads = self._cut(self._through("qkv", self._norm(r, "attention_norm")))
        count = self.case["num_heads"]
        queries, key, value = self._turn(heads[:count], "q_norm"), self._turn(heads[count:-1], "k_norm"), heads[-1]
        self.keys.append(ops.compress(key[0]))
        self.values.append(ops.compress(value))
        r = self._add(r, self._through("o", ops.pack(self._attend(queries), 16)))
        gates_and_ups = self._through("gate_up", self._norm(r, "mlp_norm"))
        half = len(gates_and_ups) // 2
        gated = [ops.gate(g, u) for g, u in zip(gates_and_ups[:half], gates_and_ups[half:], strict=True)]
        return self._add(r, self._through("down", ops.pack(gated, 16)))

    def _attend(self, queries: Sequence[Vector]) -> list[int]:
        seen = slice(-self.case["window"] if self.case["window"] else None, None)
        asked = [ops.compress(query) for query in queries]
        answers = [ops.attend(query, self.keys[seen], self.values[seen], self.constant) for query in asked]
        return [each for answer in answers for each in answer.o]

    def _turn(self, heads: Sequence[Vector], norm: str) -> list[list[int]]:
        """Normalised where the family does that, and rotated to the position that comes next."""
        table = self.case["rope.table"][len(self.keys)]
        return [ops.rotate(self._head_norm(head, norm), table) for head in heads]

    def _head_norm(self, head: Vector, norm: str) -> Vector:
        if f"{norm}.gain" not in self.case:
            return head
        return ops.head_norm(head, self._epsilon(len(head)), self.case[f"{norm}.gain"], self.case[f"{norm}.shift"])

    def _norm(self, r: Vector, norm: str) -> ops.Packed:
        return ops.norm_packed(r, self._epsilon(len(r)), self.case[f"{norm}.gain"], self.case[f"{norm}.shift"])

    def _epsilon(self, width: int) -> int:
        return int(Fraction(self.case["epsilon"]) * width * 2**32 + Fraction(1, 2))

    def _through(self, matrix: str, a: ops.Packed) -> list[int]:
        weight, scale, shift = (self.case[f"{matrix}.{part}"] for part in ("weight", "scale", "shift"))
        return ops.project(a.x, a.fraction, weight, scale, shift, self.case.get(f"{matrix}.bias"))

    def _cut(self, y: Vector) -> list[Vector]:
        d = self.case["d"]
        return [y[start : start + d] for start in range(0, len(y), d)]

    def _add(self, r: Vector, y: Vector) -> list[int]:
        return ops.bounded([each + other for each, other in zip(r, y, strict=True)])
