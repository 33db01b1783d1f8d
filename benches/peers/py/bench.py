"""The same three jobs on py-message-bus, as rows for the table.

The ratio is to the plain Python call of the same round. Both get a message that is already there,
so that what is compared is the dispatch and not the making of a dataclass.
"""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from time import perf_counter_ns

from message_bus import Command, Event, LocalMessageBus, Query

ROUNDS = 301
MESSAGES = 2_000
MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Ask(Query[int]):
    number: int


@dataclass(frozen=True)
class Add(Command):
    number: int


@dataclass(frozen=True)
class ToOne(Event):
    number: int


@dataclass(frozen=True)
class ToThree(Event):
    number: int


@dataclass(frozen=True)
class Nobody(Query[int]):
    pass


class Counter:
    def __init__(self):
        self.value = 0

    def add(self, message):
        self.value += message.number


def answer(ask):
    return ((ask.number ^ 0x5BD1E995) * 0x9E3779B97F4A7C15) & MASK


def timed(send, messages):
    """Nanoseconds a message, and the sum of the answers."""
    total = 0
    start = perf_counter_ns()
    for message in messages:
        total += send(message) or 0
    return (perf_counter_ns() - start) / len(messages), total


def job(kind, plain, send, counters):
    """Median time of the plain call, of the bus, and median ratio of the two."""
    messages = [kind(number) for number in range(MESSAGES)]
    rows = []
    for _ in range(ROUNDS):
        outcomes = []
        for call in (plain, send):
            before = [counter.value for counter in counters]
            time, total = timed(call, messages)
            grown = [c.value - b for c, b in zip(counters, before)]
            outcomes.append((total, grown))
            rows.append(time)
        assert outcomes[0] == outcomes[1], kind
        assert outcomes[0][0] or all(outcomes[0][1]), kind
    plain_times, bus_times = rows[::2], rows[1::2]
    ratio = median(bus / call for bus, call in zip(bus_times, plain_times))
    return median(plain_times), median(bus_times), ratio


def main():
    command, one, three = Counter(), Counter(), [Counter() for _ in range(3)]
    first, second, third = three

    bus = LocalMessageBus()
    bus.register_query(Ask, answer)
    bus.register_command(Add, command.add)
    bus.subscribe(ToOne, one.add)
    for counter in three:
        bus.subscribe(ToThree, counter.add)

    def tell_three(message):
        first.add(message)
        second.add(message)
        third.add(message)

    cells = [
        job(Ask, answer, bus.send, []),
        job(Add, command.add, bus.execute, [command]),
        job(ToOne, one.add, bus.publish, [one]),
        job(ToThree, tell_three, bus.publish, three),
    ]
    try:
        command.nobody(Nobody())
    except AttributeError as error:
        no_method = f"AttributeError: {error}"
    try:
        bus.send(Nobody())
        missing = "nothing"
    except LookupError as error:
        missing = f"LookupError: {error}"

    python = f"Python {platform.python_version()}"
    plain = " | ".join(f"{plain:.1f} ns, ×1.00" for plain, _, _ in cells)
    print(f"| plain call, {python} | {plain} | not counted | run time: {no_method} |")
    through = " | ".join(f"{bus:.1f} ns, ×{ratio:.2f}" for _, bus, ratio in cells)
    name = f"py-message-bus {version('py-message-bus')}"
    print(f"| {name}, {python} | {through} | not counted | run time: {missing} |")


main()
