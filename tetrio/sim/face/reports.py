"""What is pushed to the account's owner: the engine's events as those of the user data stream. Pure."""

from __future__ import annotations

from typing import Any

from tetrio.core.money import SymbolRules
from tetrio.sim.engine.orders import (
    Execution,
    ExternalLock,
    ListReport,
    Order,
    Position,
    Prevention,
    Report,
    Transfer,
    UserEvent,
)
from tetrio.sim.face.shapes import ALLOCATED, FLOOR, NO_TRADE_GROUP, amount
from tetrio.sim.face.texts import ZERO, Texts
from tetrio.wire.user import (
    AssetPosition,
    BalanceUpdate,
    ExecutionReport,
    ExternalLockUpdate,
    ListedOrder,
    ListStatus,
    OutboundAccountPosition,
)

Told = ExecutionReport | OutboundAccountPosition | BalanceUpdate | ExternalLockUpdate | ListStatus


class Reports:
    """Events for one symbol."""

    def __init__(self, rules: SymbolRules, texts: Texts) -> None:
        self._rules, self._texts = rules, texts

    def told(self, event: UserEvent) -> Told:
        """The event as its owner hears it."""
        if isinstance(event, Report):
            return self.execution_report(event)
        if isinstance(event, Position):
            return self.position(event)
        if isinstance(event, ListReport):
            return self.list_status(event)
        if isinstance(event, Transfer):
            return self.balance_update(event)
        return self.external_lock_update(event)

    def execution_report(self, report: Report) -> ExecutionReport:
        """One order change."""
        order, fill, texts = report.order, report.fill, self._texts
        members = self._special(order) if _is_special(order) else {}
        if order.working_ms >= 0 and report.execution is not Execution.REJECTED:
            members["working_ms"] = order.working_ms
        if report.execution is Execution.EXPIRED:
            members["expiry_reason"] = order.expiry_reason
        if report.prevention is not None:
            members |= self._prevented(order, report.prevention)
        if fill is not None:
            members |= {
                "last_qty": texts.qty[fill.qty],
                "last_price": texts.price[fill.price],
                "last_quote": texts.notional(fill.price * fill.qty),
                "commission": texts.amount(fill.commission_asset, fill.commission),
                "commission_asset": fill.commission_asset,
                "trade_id": fill.trade_id,
                "maker": fill.maker,
                "ignored": True,
            }
            if fill.allocation_id is not None:
                members |= {"match_type": ALLOCATED, "allocation_id": fill.allocation_id}
        return ExecutionReport(
            event_ms=report.now_ms,
            symbol=order.symbol,
            client_order_id=report.client_order_id,
            side=order.side.value,
            type=order.type,
            time_in_force=order.time_in_force,
            qty=texts.qty[order.qty],
            price=texts.price[order.price],
            order_list_id=order.list_id,
            orig_client_order_id=report.orig_client_order_id,
            execution_type=report.execution.value,
            status=order.status,
            reject_reason=report.reject_reason,
            order_id=order.order_id,
            filled_qty=texts.qty[order.filled],
            transact_ms=report.now_ms,
            execution_id=report.execution_id,
            working=report.on_book,
            created_ms=-1 if report.execution is Execution.REJECTED else order.time_ms,
            cum_quote=texts.notional(order.cum_quote),
            quote_order_qty=amount(order.quote_order_qty),
            stp_mode=order.stp_mode,
            **members,
        )

    def _special(self, order: Order) -> dict[str, Any]:
        """The members that only reports of some kinds of orders have, or have with a value."""
        texts = self._texts
        members: dict[str, Any] = {
            "stop_price": texts.price[order.stop_price],
            "iceberg_qty": texts.qty[order.iceberg],
        }
        if order.trailing_delta:
            members["trailing_delta"] = order.trailing_delta
            if order.trailing_ms >= 0:
                members["trailing_ms"] = order.trailing_ms
        if order.strategy_id is not None:
            members["strategy_id"] = order.strategy_id
        if order.strategy_type is not None:
            members["strategy_type"] = order.strategy_type
        if order.sor:
            members |= {"working_floor": FLOOR, "used_sor": True}
        if order.peg is not None:
            members["peg_price_type"] = order.peg.price_type
            if order.peg.offset_type:
                members |= {"peg_offset_type": order.peg.offset_type, "peg_offset_value": order.peg.offset_value}
            if order.pegged_price:
                members["pegged_price"] = texts.price[order.pegged_price]
        return members

    def _prevented(self, order: Order, prevention: Prevention) -> dict[str, Any]:
        """What self-trade prevention took from the order, and who was on the other side."""
        texts = self._texts
        is_maker = order.order_id == prevention.maker_order_id
        lost = prevention.maker_qty if is_maker else prevention.taker_qty
        return {
            "prevented_match_id": prevention.match_id,
            "prevented_qty": texts.qty[order.prevented],
            "last_prevented_qty": texts.qty[lost],
            "trade_group_id": NO_TRADE_GROUP,
            "counter_order_id": prevention.taker_order_id if is_maker else prevention.maker_order_id,
            "counter_symbol": prevention.symbol,
            "prevented_execution_qty": texts.qty[prevention.qty],
            "prevented_execution_price": texts.price[prevention.price],
            "prevented_execution_quote": texts.notional(prevention.price * prevention.qty),
        }

    def list_status(self, report: ListReport) -> ListStatus:
        """A list began, changed or ended."""
        order_list = report.order_list
        return ListStatus(
            event_ms=report.now_ms,
            symbol=order_list.symbol,
            order_list_id=order_list.list_id,
            contingency_type=order_list.contingency,
            list_status_type=order_list.status_type,
            list_order_status=order_list.status,
            list_client_order_id=order_list.client_order_id,
            transact_ms=report.now_ms,
            orders=[ListedOrder(order_list.symbol, leg.order_id, leg.client_order_id) for leg in order_list.legs],
        )

    def position(self, position: Position) -> OutboundAccountPosition:
        """Balances that changed: the symbol's base first and its quote last, as Binance lists them."""
        held, write = position.balances, self._texts.amount
        quote = self._rules.quote_asset
        return OutboundAccountPosition(
            event_ms=position.now_ms,
            updated_ms=position.now_ms,
            balances=[
                AssetPosition(
                    asset,
                    write(asset, held[asset].free) if held[asset].free else ZERO,
                    write(asset, held[asset].locked) if held[asset].locked else ZERO,
                )
                for asset in sorted(held, key=quote.__eq__)  # the rest as it stands, the quote last
            ],
        )

    def balance_update(self, transfer: Transfer) -> BalanceUpdate:
        """A deposit or withdrawal."""
        return BalanceUpdate(
            event_ms=transfer.now_ms,
            asset=transfer.asset,
            delta=self._texts.amount(transfer.asset, transfer.units),
            cleared_ms=transfer.now_ms,
        )

    def external_lock_update(self, lock: ExternalLock) -> ExternalLockUpdate:
        """A part of the balance was locked or released from outside."""
        return ExternalLockUpdate(
            event_ms=lock.now_ms,
            asset=lock.asset,
            delta=self._texts.amount(lock.asset, lock.units),
            transact_ms=lock.now_ms,
        )


def _is_special(order: Order) -> bool:
    """Whether an order has more to tell than its price and quantity."""
    return bool(
        order.stop_price
        or order.iceberg
        or order.trailing_delta
        or order.peg is not None
        or order.strategy_id is not None
        or order.strategy_type is not None
        or order.sor
    )
