"""Promises to pay: one cumulative, signed amount per channel, each replacing the one before.

The digests are those of contracts/src/lib/ChannelDigests.sol; tests compare both on random cases.
"""

from dataclasses import dataclass

from incentives.errors import BeyondLock, VoucherStale, WrongChannel, WrongWork
from incentives.signing import Signer, check_signer
from verification.addresses import Address
from verification.typed_data import Domain, address_word, bytes32_word, struct_hash, typed_digest, uint_word

AMOUNT_BITS = 96
TIME_BITS = 40
_KEY_TYPE = "ChannelKey(address payer,address signer,bytes32 payees,bytes32 salt)"
_VOUCHER_TYPE = "Voucher(bytes32 channel,uint96 cumulative,bytes32 work)"
_RELEASE_TYPE = "Release(bytes32 channel,uint96 settled,uint40 deadline)"


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What a channel is: whose money, whose signature spends it, and who shares it. It travels in calldata only."""

    payer: Address
    signer: Address
    payees: bytes
    """Hash of the payee words."""
    salt: bytes
    """32 bytes that tell channels between the same parties apart."""

    def id(self, domain: Domain) -> bytes:
        """The channel's id on one chain and contract. Raises: MalformedRecord, MalformedAddress."""
        words = (
            address_word(self.payer),
            address_word(self.signer),
            bytes32_word("payees", self.payees),
            bytes32_word("salt", self.salt),
        )
        return typed_digest(domain, struct_hash(_KEY_TYPE, words))


@dataclass(frozen=True, slots=True)
class Voucher:
    """All that a channel has paid so far, and for which work."""

    channel: bytes
    cumulative: int
    work: bytes

    def digest(self, domain: Domain) -> bytes:
        """What the channel's signer signs. Raises: MalformedRecord."""
        words = (
            bytes32_word("channel", self.channel),
            uint_word("cumulative", self.cumulative, AMOUNT_BITS),
            bytes32_word("work", self.work),
        )
        return typed_digest(domain, struct_hash(_VOUCHER_TYPE, words))


@dataclass(frozen=True, slots=True)
class SignedVoucher:
    """A voucher with everything needed to settle it."""

    key: ChannelKey
    voucher: Voucher
    signature: bytes


@dataclass(frozen=True, slots=True)
class Release:
    """What each payee but the audit pool signs to let the payer have the rest of a channel at once.

    Whoever signs it must take no voucher for the channel until the deadline has passed or something was settled: until
    then the payer can end the channel, and with it every voucher that is not settled.
    """

    channel: bytes
    settled: int
    """All that is settled on the channel; a later settlement takes the consent back."""
    deadline: int
    """The last second since 1970 in which it counts."""

    def digest(self, domain: Domain) -> bytes:
        """What a payee signs. Raises: MalformedRecord."""
        words = (
            bytes32_word("channel", self.channel),
            uint_word("settled", self.settled, AMOUNT_BITS),
            uint_word("deadline", self.deadline, TIME_BITS),
        )
        return typed_digest(domain, struct_hash(_RELEASE_TYPE, words))


def sign_voucher(signer: Signer, domain: Domain, key: ChannelKey, cumulative: int, work: bytes) -> SignedVoucher:
    """Promise `cumulative` in all on a channel. Raises: MalformedRecord."""
    voucher = Voucher(key.id(domain), cumulative, work)
    return SignedVoucher(key, voucher, signer.sign_digest(voucher.digest(domain)))


def check_voucher(
    signed: SignedVoucher, domain: Domain, *, channel: bytes, locked: int, previous: int, work: bytes
) -> None:
    """Accept a voucher for `channel` that pays more than `previous` and no more than `locked`, for exactly `work`.

    The signature is looked at last: everything before it is cheap. The amounts are in the token's smallest unit.
    Raises: WrongChannel, VoucherStale, BeyondLock, WrongWork, InvalidSignature; MalformedRecord and MalformedAddress
    for a key or voucher that no contract could read.
    """
    voucher = signed.voucher
    for actual in (signed.key.id(domain), voucher.channel):
        if actual != channel:
            raise WrongChannel(channel, actual)
    if voucher.cumulative <= previous:
        raise VoucherStale(previous, voucher.cumulative)
    if voucher.cumulative > locked:
        raise BeyondLock(locked, voucher.cumulative)
    if voucher.work != work:
        raise WrongWork(work, voucher.work)
    check_signer(voucher.digest(domain), signed.signature, signed.key.signer)
