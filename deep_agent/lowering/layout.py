"""Owns the analysis of dimensions: which dimensions of which tensors are the same, and which are columns.

A dimension is a run of atoms. Inputs start with one atom a dimension; broadcasting unifies atoms, and a view that
splits a dimension splits its atom, after which the analysis starts over with the finer atoms.
"""

from collections.abc import Sequence
from typing import NoReturn

from deep_agent.lowering.expression import Unsupported
from deep_agent.lowering.size import Size, product

Atom = int
Dim = tuple[Atom, ...]
"""Atoms of one dimension, outermost first; empty for a dimension of size one."""
Layout = tuple[Dim, ...]
Origin = tuple[str, int, int]
"""Where an atom was made: what made it, the id of the value, the dimension."""


class StartOver(Exception):
    """An atom was split; the analysis runs again with `Splits` that know it."""


class Splits:
    """Dimensions that views take apart, learnt while analysing."""

    def __init__(self) -> None:
        """Start with none."""
        self._parts: dict[Origin, tuple[Size, ...]] = {}

    def parts(self, origin: Origin, size: Size) -> tuple[Size, ...]:
        """Give the sizes of the atoms of a dimension."""
        return self._parts.get(origin, (size,))

    def split(self, origin: Origin, index: int, size: Size, into: tuple[Size, ...]) -> None:
        """Replace one atom of a dimension by several."""
        parts = self.parts(origin, size)
        self._parts[origin] = (*parts[:index], *into, *parts[index + 1 :])


class Atoms:
    """The atoms of one analysis, with what is known to be equal or akin."""

    def __init__(self, splits: Splits) -> None:
        """Take the splits that earlier rounds learnt."""
        self._splits = splits
        self._sizes: list[Size] = []
        self._origins: list[tuple[Origin, int]] = []
        self._same: list[Atom] = []
        self._kin: list[Atom] = []

    def dimension(self, origin: Origin, size: Size) -> Dim:
        """Make the atoms of a new dimension; a size of one has none."""
        if size.text == "1":
            return ()
        made = []
        for index, part in enumerate(self._splits.parts(origin, size)):
            atom = len(self._sizes)
            self._sizes.append(part)
            self._origins.append((origin, index))
            self._same.append(atom)
            self._kin.append(atom)
            made.append(atom)
        return tuple(made)

    def size(self, atom: Atom) -> Size:
        """Give the size of an atom; equal atoms may spell it differently."""
        return self._sizes[self.find(atom)]

    def width(self, dim: Dim) -> Size:
        """Give the size of a dimension."""
        return product(tuple(self.size(atom) for atom in dim))

    def find(self, atom: Atom) -> Atom:
        """Give the one atom that stands for all equal ones."""
        return _root(self._same, atom)

    def kin(self, atom: Atom) -> Atom:
        """Give the atom that stands for all that were cut from one another."""
        return _root(self._kin, atom)

    def relate(self, left: Dim, right: Dim) -> None:
        """Note that two dimensions are parts of one, as cutting and joining make them."""
        if left and right:
            self._kin[self.kin(left[-1])] = self.kin(right[-1])

    def unify(self, left: Dim, right: Dim) -> Dim:
        """Note that two dimensions are one; an empty one is broadcast.

        Raises:
            StartOver: one has finer atoms than the other.
            Unsupported: they cannot be brought together.
        """
        if not left or not right:
            return left or right
        for mine, theirs in self.aligned(left, tuple(self.size(atom) for atom in right)):
            if len(mine) > 1:
                self._split(right[theirs[0]], tuple(self.size(atom) for atom in mine))
            self._join(mine[0], right[theirs[0]])
        return left

    def aligned(self, atoms: Sequence[Atom], sizes: Sequence[Size]) -> list[tuple[Dim, tuple[int, ...]]]:
        """Group atoms and sizes so that both sides of a group have the same product; no group has several sizes.

        Raises:
            StartOver: an atom had to be split.
            Unsupported: no grouping exists.
        """
        groups: list[tuple[Dim, tuple[int, ...]]] = []
        a = s = 0
        while a < len(atoms) or s < len(sizes):
            group_atoms, group_sizes = self._next_group(atoms, sizes, a, s)
            a, s = a + len(group_atoms), s + len(group_sizes)
            if len(group_sizes) > 1 and len(group_atoms) == 1:
                self._split(group_atoms[0], tuple(sizes[position] for position in group_sizes))
            if len(group_sizes) > 1 and len(group_atoms) > 1:
                raise Unsupported("a view regroups dimensions in a way that has no common factors")
            groups.append((group_atoms, group_sizes))
        return groups

    def _next_group(self, atoms: Sequence[Atom], sizes: Sequence[Size], a: int, s: int) -> tuple[Dim, tuple[int, ...]]:
        left = right = 1
        end_a, end_s = a, s
        while end_a == a or end_s == s or left != right:
            grows_left = end_a == a or (end_s > s and left < right)
            if grows_left and end_a < len(atoms):
                left *= self.size(atoms[end_a]).value
                end_a += 1
            elif not grows_left and end_s < len(sizes):
                right *= sizes[end_s].value
                end_s += 1
            else:
                raise Unsupported("a view or a broadcast joins dimensions of different sizes")
        return tuple(atoms[a:end_a]), tuple(range(s, end_s))

    def _split(self, atom: Atom, into: tuple[Size, ...]) -> NoReturn:
        origin, index = self._origins[atom]
        self._splits.split(origin, index, self._sizes[atom], into)
        raise StartOver

    def _join(self, left: Atom, right: Atom) -> None:
        mine, theirs = self.find(left), self.find(right)
        if self._sizes[mine].value != self._sizes[theirs].value:
            raise Unsupported("a broadcast joins dimensions of different sizes")
        # The plainer spelling survives: a name is better than an expression, in messages and in the kernel.
        if len(self._sizes[theirs].text) < len(self._sizes[mine].text):
            mine, theirs = theirs, mine
        self._same[theirs] = mine
        self._kin[self.kin(theirs)] = self.kin(mine)


def _root(parents: list[Atom], atom: Atom) -> Atom:
    while parents[atom] != atom:
        parents[atom] = parents[parents[atom]]
        atom = parents[atom]
    return atom
