"""What a bot is told at its start: where the exchange is, whose account, which strategy and which bounds."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import attrs

from tetrio.core.params import ExitParams, RiskParams, StrategyParams
from tetrio.live.watchdog import Patience, abandon
from tetrio.wire.sign import Signer


@attrs.frozen(kw_only=True)
class Setup:
    """Everything a bot is told at its start."""

    rest: str
    ws_api: str
    stream: str
    symbol: str
    api_key: str = attrs.field(repr=False)
    signer: Signer = attrs.field(repr=False)
    strategy: StrategyParams
    exit: ExitParams
    risk: RiskParams
    reserve_base: Decimal = Decimal(0)
    reserve_quote: Decimal = Decimal(0)
    max_notional: Decimal = Decimal(0)
    jumpstart: bool = False
    where: str = ""
    """The exchange, for the latch: a venue's name, or the URL of one that has none."""
    check_rights: bool = True
    """Ask what the key may do, and refuse one that may withdraw; False for a key that a start has made itself."""
    state: Path | None = None
    """Directory of the latch; None keeps the operator's words in memory."""
    patience: Patience = attrs.field(factory=Patience)
    abandon: Callable[[str], None] = abandon
    """Ends the process, where an epoch does not end when it is cancelled."""
    show_every_s: float = 0.1
    """How often the status follows the market when nothing is decided."""
