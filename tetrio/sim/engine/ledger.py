"""Who owns what: free and locked amounts of each asset, in whole units.

Double entry: whatever an account gets, another one gives. The rest of the market is the account `MARKET` (it may owe
any amount) and commissions go to `FEES`, so the sum over all accounts of an asset changes by deposits and withdrawals
only. An account never owes: asking for more than it has is an AssertionError, because the engine checks before it acts.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from tetrio.core.money import SymbolRules, places_of, to_units, writer
from tetrio.sim.engine.orders import Balance

MARKET = "*market"
"""The counterparty of every trade with the displayed market."""
FEES = "*fees"
"""Where commissions go."""


class Ledger:
    """Balances of all accounts. Units are fine enough that price x quantity of every listed symbol is whole."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._writers: dict[str, Callable[[int], str]] = {}
        self._accounts: dict[str, dict[str, list[int]]] = {MARKET: {}, FEES: {}}
        self._external: dict[tuple[str, str], int] = {}

    def list_symbol(self, rules: SymbolRules) -> None:
        """Makes the units of its assets fine enough. ValueError once anything was deposited (units are fixed then)."""
        base = places_of(rules.step_size)
        quote = places_of(rules.tick_size) + base
        for asset, places in ((rules.base_asset, base), (rules.quote_asset, quote)):
            finer = max(8, places, self._places.get(asset, 0))
            if finer != self._places.get(asset, 8) and any(asset in holding for holding in self._accounts.values()):
                raise ValueError(f"{asset} is in use with coarser units than {rules.name} needs")
            self._places[asset] = finer
            self._writers.pop(asset, None)

    def open(self, account: str) -> None:
        """A new account with nothing; no-op when it exists."""
        self._accounts.setdefault(account, {})

    def accounts(self) -> list[str]:
        """Names of all accounts, MARKET and FEES among them."""
        return list(self._accounts)

    def unit(self, asset: str) -> Decimal:
        """What one unit is worth, in the asset; 1e-8 unless a symbol needs finer ones."""
        return Decimal(1).scaleb(-self._places.get(asset, 8))

    def grain(self, asset: str) -> int:
        """How many units are 1e-8: commissions are whole multiples of that."""
        return int(10 ** (self._places.get(asset, 8) - 8))

    def units(self, asset: str, amount: Decimal) -> int:
        """An amount in units; ValueError when it is negative or finer than a unit."""
        units = to_units(str(amount), self.unit(asset))
        if units < 0:
            raise ValueError(f"{amount} {asset} is negative")
        return units

    def text(self, asset: str, units: int) -> str:
        """Units as Binance prints an amount."""
        write = self._writers.get(asset)
        if write is None:
            write = self._writers[asset] = writer(self.unit(asset))
        return write(units)

    def free(self, account: str, asset: str) -> int:
        """Units that may be spent."""
        holding = self._accounts[account].get(asset)
        return holding[0] if holding else 0

    def balances(self, account: str) -> dict[str, Balance]:
        """All assets that the account ever had, in the order in which it got them."""
        return {asset: Balance(free, locked) for asset, (free, locked) in self._accounts[account].items()}

    def balance(self, account: str, asset: str) -> Balance:
        """One asset; zeros when it never had any."""
        free, locked = self._accounts[account].get(asset, (0, 0))
        return Balance(free, locked)

    def total(self, asset: str) -> int:
        """Units over all accounts: deposits less withdrawals."""
        return sum(sum(holding.get(asset, (0, 0))) for holding in self._accounts.values())

    def credit(self, account: str, asset: str, units: int) -> None:
        """From outside."""
        self._holding(account, asset)[0] += units

    def debit(self, account: str, asset: str, units: int) -> None:
        """To outside."""
        holding = self._holding(account, asset)
        assert holding[0] >= units, f"{account} has not {units} units of {asset}"
        holding[0] -= units

    def lock(self, account: str, asset: str, units: int) -> None:
        """Free to locked."""
        holding = self._holding(account, asset)
        assert holding[0] >= units, f"{account} has not {units} units of {asset} to lock"
        holding[0] -= units
        holding[1] += units

    def unlock(self, account: str, asset: str, units: int) -> None:
        """Locked to free."""
        holding = self._holding(account, asset)
        assert holding[1] >= units, f"{account} has not {units} units of {asset} locked"
        holding[0] += units
        holding[1] -= units

    def external(self, account: str, asset: str) -> int:
        """Units that are locked from outside, not by orders."""
        return self._external.get((account, asset), 0)

    def lock_external(self, account: str, asset: str, units: int) -> None:
        """Lock (positive) or release what no order needs."""
        if units >= 0:
            self.lock(account, asset, units)
        else:
            assert self.external(account, asset) >= -units, (
                f"{account} has not {-units} units of {asset} locked outside"
            )
            self.unlock(account, asset, -units)
        self._external[account, asset] = self.external(account, asset) + units

    def move(self, giver: str, taker: str, asset: str, units: int) -> None:
        """Free to free; only MARKET may go below zero."""
        source = self._holding(giver, asset)
        assert source[0] >= units or giver == MARKET, f"{giver} has not {units} units of {asset}"
        source[0] -= units
        self._holding(taker, asset)[0] += units

    def _holding(self, account: str, asset: str) -> list[int]:
        return self._accounts[account].setdefault(asset, [0, 0])
