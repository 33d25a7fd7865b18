"""When settled money is ripe: windows of time, and numbers kept short enough that a pot and a channel are one slot each.

Mirrors contracts/src/lib/Maturing.sol and Short.sol, word by word. Time runs in windows as long as the maturity; money is ripe once
the window after the one it was settled in is over: one to two windows later.
"""

WINDOW_MASK = 2**16 - 1
"""Windows are numbered modulo this and one."""
MAX_POT = 2**112 - 1
FLOOR_DIGITS, CEIL_DIGITS = 57, 16
_SHORT, _DIGITS = 2**64 - 1, 2**23 - 1


def window_of(timestamp: int, maturity: int) -> int:
    """The number of the window that a second lies in."""
    return timestamp // maturity


def floor_short(value: int) -> int:
    """64 bits that stand for `value` or a little less: exact below 2^57, else by less than one part in 2^56."""
    shift = (value >> FLOOR_DIGITS).bit_length()
    return value >> shift << 7 | shift


def ceil_short(value: int) -> int:
    """23 bits that stand for `value` or a little more: exact up to 2^16, else by less than one part in 2^15."""
    shift = (value >> CEIL_DIGITS).bit_length()
    digits = -(-value >> shift)
    return digits << 7 | shift if digits >> CEIL_DIGITS == 0 else digits >> 1 << 7 | shift + 1


def expand(short: int) -> int:
    """The number that a short one stands for."""
    return short >> 7 << (short & 127)


def pot_plus(pot: int, amount: int, window: int) -> int:
    """The word of a pot after `amount` more was settled into it. Raises: OverflowError past MAX_POT."""
    total, gone = pot_total(pot) + amount, _passed(window, pot >> 128)
    if total > MAX_POT:
        raise OverflowError(f"a pot holds {MAX_POT} at most, not {total}")
    if gone == 0:
        return total << 144 | pot & 2**144 - 1
    begun = floor_short(pot_total(pot))
    before = pot >> 64 & _SHORT if gone == 1 else begun
    return total << 144 | (window & WINDOW_MASK) << 128 | begun << 64 | before


def pot_total(pot: int) -> int:
    """All that was ever settled into it."""
    return pot >> 144


def pot_ripe(pot: int, window: int) -> int:
    """How much of that can be collected."""
    gone = _passed(window, pot >> 128)
    return pot_total(pot) if gone > 1 else expand((pot if gone == 0 else pot >> 64) & _SHORT)


def ages_moved(ages: int, settled: int, window: int) -> int:
    """A channel's ages once something is settled in `window`; settled: before it is."""
    gone = _passed(window, ages >> 46)
    if gone == 0:
        return ages
    begun = ceil_short(settled)
    before = ages >> 23 & _DIGITS if gone == 1 else begun
    return ages >> 62 << 62 | (window & WINDOW_MASK) << 46 | begun << 23 | before


def ages_ripe(ages: int, settled: int, window: int) -> int:
    """How much of what is settled on a channel can no longer be refunded; it may be a little more than all of it."""
    gone = _passed(window, ages >> 46)
    return settled if gone > 1 else expand((ages if gone == 0 else ages >> 23) & _DIGITS)


def _passed(window: int, last: int) -> int:
    return window - last & WINDOW_MASK
