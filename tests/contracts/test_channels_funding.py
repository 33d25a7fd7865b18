"""Channels: deposits, the free balance, opening, topping up."""

from dataclasses import astuple, replace

from tests.contracts.world import DEADLINE, MIN_STAKE, PEER, WORK, ZERO, World, dev, hot, only_event, word

PAYER, OTHER, NEWCOMER, STRANGER = dev(1), dev(2), dev(6), dev(9)
SIGNER = hot("client")
WORDS = (word(dev(3).address, 6_000), word(dev(4).address, 4_000))


def test_a_deposit_becomes_free_balance_and_comes_back(world: World) -> None:
    """Deposits add up; a withdrawal pays at once."""
    before = world.balance(PAYER.address)
    world.send(PAYER, world.channels, "deposit", 70)
    sent = world.send(PAYER, world.channels, "deposit", 30)
    assert only_event(sent) == ("Deposited", {"payer": PAYER.address, "amount": 30})
    assert world.view(world.channels, "freeOf", PAYER.address) == 100 == world.balance(world.channels.address)
    sent = world.send(PAYER, world.channels, "withdraw", 100)
    assert only_event(sent) == ("Withdrawn", {"payer": PAYER.address, "amount": 100})
    assert world.view(world.channels, "freeOf", PAYER.address) == 0
    assert world.balance(PAYER.address) == before


def test_nobody_withdraws_more_than_is_free(world: World) -> None:
    """Neither one unit more, nor somebody else's, nor nothing."""
    world.send(PAYER, world.channels, "deposit", 100)
    assert world.refusal(PAYER, world.channels, "withdraw", 101) == ("FundsShort", (100, 101))
    assert world.refusal(STRANGER, world.channels, "withdraw", 1) == ("FundsShort", (0, 1))
    assert world.refusal(PAYER, world.channels, "withdraw", 0) == ("AmountZero", ())


def test_locked_money_cannot_be_withdrawn(world: World) -> None:
    """What is in a channel belongs to whoever brings a voucher first."""
    world.send(PAYER, world.channels, "deposit", 100)
    key = world.channel(PAYER, SIGNER, WORDS)
    world.send(PAYER, world.channels, "open", astuple(key), 60)
    assert world.refusal(PAYER, world.channels, "withdraw", 41) == ("FundsShort", (40, 41))


def test_opening_locks_free_balance(world: World) -> None:
    """The event carries the whole key, so that the chain alone is enough to find one's channels again."""
    world.send(PAYER, world.channels, "deposit", 100)
    key = world.channel(PAYER, SIGNER, WORDS)
    sent = world.send(PAYER, world.channels, "open", astuple(key), 60)
    assert only_event(sent) == (
        "Opened",
        {
            "channel": key.id(world.domain(world.channels)),
            "payer": PAYER.address,
            "payees": key.payees,
            "signer": SIGNER.address,
            "salt": PEER,
            "amount": 60,
        },
    )
    assert world.channel_state(key) == (60, 0, 0)
    assert world.view(world.channels, "freeOf", PAYER.address) == 40


def test_opening_again_adds_to_the_lock(world: World) -> None:
    """From the free balance and from the account alike."""
    key = world.channel(PAYER, SIGNER, WORDS, 60)
    world.send(PAYER, world.channels, "depositAndOpen", astuple(key), 7)
    world.send(PAYER, world.channels, "deposit", 5)
    world.send(PAYER, world.channels, "open", astuple(key), 5)
    assert world.channel_state(key) == (72, 0, 0)
    assert world.balance(world.channels.address) == 72


def test_funding_and_opening_in_one_leaves_the_free_balance_alone(world: World) -> None:
    """The money goes straight into the lock."""
    world.send(PAYER, world.channels, "deposit", 3)
    sent = world.send(PAYER, world.channels, "depositAndOpen", astuple(world.channel(PAYER, SIGNER, WORDS)), 60)
    assert [event.name for event in sent.logs] == ["Opened"]
    assert world.view(world.channels, "freeOf", PAYER.address) == 3
    assert world.balance(world.channels.address) == 63


def test_impossible_openings_are_refused(world: World) -> None:
    """Too much, nothing, in somebody else's name, without a signer."""
    world.send(PAYER, world.channels, "deposit", 10)
    key = world.channel(PAYER, SIGNER, WORDS)
    assert world.refusal(PAYER, world.channels, "open", astuple(key), 11) == ("FundsShort", (10, 11))
    others = replace(key, payer=OTHER.address)
    unsigned = replace(key, signer=ZERO)
    for fn in ("open", "depositAndOpen"):
        assert world.refusal(PAYER, world.channels, fn, astuple(key), 0) == ("AmountZero", ())
        assert world.refusal(PAYER, world.channels, fn, astuple(others), 1) == ("NotPayer", (PAYER.address,))
        assert world.refusal(PAYER, world.channels, fn, astuple(unsigned), 1) == ("SignerMissing", ())
    assert world.refusal(PAYER, world.channels, "deposit", 0) == ("AmountZero", ())


def test_without_allowance_nothing_is_credited(world: World) -> None:
    """Money that does not come is not counted."""
    world.give(NEWCOMER, 10)
    short = ("TransferFailed", (world.channels.address, 10))
    key = astuple(world.channel(NEWCOMER, SIGNER, WORDS))
    assert world.refusal(NEWCOMER, world.channels, "deposit", 10) == short
    assert world.refusal(NEWCOMER, world.channels, "depositAndOpen", key, 10) == short


def test_the_lock_holds_96_bits_and_no_more(world: World) -> None:
    """The greatest lock is kept exactly; one unit more panics. Free balances may be greater."""
    world.give(PAYER, 2**98)
    key = world.channel(PAYER, SIGNER, WORDS, 2**96 - 1)
    assert world.channel_state(key) == (2**96 - 1, 0, 0)
    assert world.refusal(PAYER, world.channels, "depositAndOpen", astuple(key), 1) == ("Panic", (0x11,))
    for _ in range(2):
        world.send(PAYER, world.channels, "deposit", 2**96 - 1)
    assert world.view(world.channels, "freeOf", PAYER.address) == 2**97 - 2


def test_permits_replace_the_approval(world: World) -> None:
    """For a deposit and for an opening, each in one transaction from a fresh account."""
    world.give(NEWCOMER, 30)
    permit = world.permit(NEWCOMER, world.channels, 10)
    world.send(NEWCOMER, world.channels, "depositWithPermit", 10, *permit)
    key = world.channel(NEWCOMER, SIGNER, WORDS)
    permit = world.permit(NEWCOMER, world.channels, 20)
    world.send(NEWCOMER, world.channels, "depositAndOpenWithPermit", astuple(key), 20, *permit)
    assert world.view(world.channels, "freeOf", NEWCOMER.address) == 10
    assert world.channel_state(key) == (20, 0, 0)
    assert world.balance(NEWCOMER.address) == 0


def test_a_copied_permit_does_not_stop_the_deposit(world: World) -> None:
    """Whoever was faster has only set the allowance; a worthless permit leaves the deposit without money."""
    world.give(NEWCOMER, 10)
    permit = world.permit(NEWCOMER, world.channels, 10)
    world.send(STRANGER, world.token, "permit", NEWCOMER.address, world.channels.address, 10, *permit)
    world.send(NEWCOMER, world.channels, "depositWithPermit", 10, *permit)
    world.give(NEWCOMER, 10)
    short = ("TransferFailed", (world.channels.address, 10))
    key = astuple(world.channel(NEWCOMER, SIGNER, WORDS))
    assert world.refusal(NEWCOMER, world.channels, "depositWithPermit", 10, *permit) == short
    forged = (DEADLINE, *world.permit(OTHER, world.channels, 10)[1:])
    assert world.refusal(NEWCOMER, world.channels, "depositAndOpenWithPermit", key, 10, *forged) == short


def test_ids_and_digests_are_those_that_python_makes(world: World) -> None:
    """The channel's id and the voucher's digest, also at the edges."""
    for key in (world.channel(PAYER, SIGNER, WORDS), replace(world.channel(OTHER, PAYER, WORDS), salt=b"\xff" * 32)):
        channel = key.id(world.domain(world.channels))
        assert world.view(world.channels, "channelId", astuple(key)) == channel
        for amount in (0, MIN_STAKE, 2**96 - 1):
            digest = world.view(world.channels, "voucherDigest", channel, amount, WORK)
            voucher = world.voucher(SIGNER, key, amount)
            assert SIGNER.sign_digest(digest) == voucher[3] + voucher[4]
