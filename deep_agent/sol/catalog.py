"""Owns finding a device by name: this machine's processor, its card, or any device known by its data sheet."""

import re
from collections.abc import Callable

from typing_extensions import override

from deep_agent.errors import InvalidInput
from deep_agent.ports import DeviceCatalog
from deep_agent.problem.cardfacts import CardFacts
from deep_agent.problem.cards import known_names, spec_for_card, spec_named
from deep_agent.problem.device import DeviceModel
from deep_agent.sol.driver import found_cards


class Catalog(DeviceCatalog):
    """Every device that bounds can be computed for; safe to call from several threads."""

    def __init__(self, cpu: DeviceCatalog, *, cards: Callable[[], tuple[CardFacts, ...]] = found_cards) -> None:
        """Keep who knows the processor and who asks the driver; nothing is asked yet."""
        self._cpu = cpu
        self._cards = cards

    @override
    def resolve(self, name: str) -> DeviceModel:
        """Give the model of a device; see the port.

        Raises:
            InvalidInput: an unknown name, no card here, or a card without a spec.
        """
        if _is_processor(name):
            return self._cpu.resolve(name.lower())
        asked = _card_asked(name)
        if asked is not None:
            return self._of_card(name, asked)
        spec = spec_named(name)
        if spec is None:
            raise _unknown(name)
        return spec.model()

    @override
    def check(self, name: str) -> None:
        if _is_processor(name):
            self._cpu.check(name.lower())
        elif (asked := _card_asked(name)) is not None:
            self._of_card(name, asked)
        elif spec_named(name) is None:
            raise _unknown(name)
        else:
            raise InvalidInput(
                f"device {name!r} is known by its data sheet, which runs nothing.",
                remedy="Judge on cpu, cpu:N or cuda; `deep-agent bound` takes any device.",
            )

    @override
    def known(self) -> tuple[DeviceModel, ...]:
        return self._cpu.known()

    def _of_card(self, name: str, place: int) -> DeviceModel:
        cards = self._cards()
        if place >= len(cards):
            found = f"only {len(cards)} here" if cards else "the driver lists none here"
            raise InvalidInput(
                f"device {name!r} names a card, and {found}.",
                remedy=f"Judge on cpu or cpu:N; bounds also take a device by its sheet: {', '.join(known_names())}.",
            )
        card = cards[place].name
        model = spec_for_card(card)
        # The name is what the judge is asked for, and the card is told beside it.
        return model.model_copy(
            update={
                "name": name.lower(),
                "hardware": card,
                "how": {"card": f"{card}, as the driver names it", **model.how},
            }
        )


def _is_processor(name: str) -> bool:
    return re.fullmatch(r"auto|cpu|cpu:.*", name.lower()) is not None


def _card_asked(name: str) -> int | None:
    """Give the place of the card that `cuda` or `cuda:N` names; None for other names."""
    asked = re.fullmatch(r"cuda(?::(\d{1,3}))?", name.lower())
    return None if asked is None else int(asked[1] or 0)


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(
        f"device {name!r} is unknown; known: auto, cpu and cpu:N (this machine's processor), cuda (its card), "
        f"and by data sheet {', '.join(known_names())}.",
        remedy="Choose one of these.",
    )
