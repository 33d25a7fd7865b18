"""The token of local networks: ERC-20 and EIP-2612."""

from tests.contracts.world import FOREVER, SUPPLY, ZERO, World, dev, only_event

HOLDER, SPENDER, POOR, STRANGER = dev(1), dev(6), dev(7), dev(9)


def test_the_whole_supply_went_to_the_deployer(world: World) -> None:
    """Nobody can make more."""
    assert world.view(world.token, "totalSupply") == SUPPLY
    (minted,) = world.chain.events(world.token, "Transfer", 0, **{"from": ZERO})
    assert (minted.args["to"], minted.args["value"]) == (dev(0).address, SUPPLY)
    names = [world.view(world.token, field) for field in ("name", "symbol", "version", "decimals")]
    assert names == ["Tallystick", "TALLY", "1", 18]


def test_transfers_move_what_is_there(world: World) -> None:
    """To others and to oneself, nothing included; never more than one has, never to nobody."""
    held = world.balance(POOR.address) + 5
    sent = world.send(HOLDER, world.token, "transfer", POOR.address, 5)
    assert only_event(sent) == ("Transfer", {"from": HOLDER.address, "to": POOR.address, "value": 5})
    world.send(POOR, world.token, "transfer", POOR.address, held)
    world.send(POOR, world.token, "transfer", HOLDER.address, 0)
    assert world.balance(POOR.address) == held
    call = world.token, "transfer"
    short = ("ERC20InsufficientBalance", (POOR.address, held, held + 1))
    assert world.refusal(POOR, *call, HOLDER.address, held + 1) == short
    assert world.refusal(POOR, *call, ZERO, 1) == ("ERC20InvalidReceiver", (ZERO,))


def test_allowances_shrink_and_the_greatest_does_not(world: World) -> None:
    """The spender takes up to the allowance, on the owner's terms."""
    take = world.token, "transferFrom", HOLDER.address, STRANGER.address
    sent = world.send(HOLDER, world.token, "approve", SPENDER.address, 10)
    assert only_event(sent) == ("Approval", {"owner": HOLDER.address, "spender": SPENDER.address, "value": 10})
    world.send(SPENDER, *take, 4)
    assert world.view(world.token, "allowance", HOLDER.address, SPENDER.address) == 6
    assert world.refusal(SPENDER, *take, 7) == ("ERC20InsufficientAllowance", (SPENDER.address, 6, 7))
    world.send(HOLDER, world.token, "approve", SPENDER.address, FOREVER)
    world.send(SPENDER, *take, 7)
    assert world.view(world.token, "allowance", HOLDER.address, SPENDER.address) == FOREVER
    left = world.balance(HOLDER.address)
    short = ("ERC20InsufficientBalance", (HOLDER.address, left, left + 1))
    assert world.refusal(SPENDER, *take, left + 1) == short


def test_a_permit_sets_the_allowance_once(world: World) -> None:
    """Anybody may bring it; its number then is used up."""
    permit = world.permit(HOLDER, world.court, 8)
    call = world.token, "permit", HOLDER.address, world.court.address, 8
    world.send(STRANGER, *call, *permit)
    assert world.view(world.token, "allowance", HOLDER.address, world.court.address) == 8
    assert world.view(world.token, "nonces", HOLDER.address) == 1
    assert world.refusal(STRANGER, *call, *permit) == ("SignatureInvalid", ())


def test_a_permit_ends_with_its_deadline(world: World) -> None:
    """The deadline's own second still counts, the next does not."""
    now = world.chain.head().timestamp + 100
    call = world.token, "permit", HOLDER.address, world.court.address, 8
    permit = world.permit(HOLDER, world.court, 8, now)
    world.next_block_at(now + 1)
    assert world.refusal(STRANGER, *call, *permit, gas=100_000)[0] in ("PermitExpired", "NoReason")
    assert world.view(world.token, "nonces", HOLDER.address) == 0
    later = world.permit(HOLDER, world.court, 8, now + 10)
    world.next_block_at(now + 10)
    world.send(STRANGER, *call, *later, gas=100_000)
    assert world.refusal(STRANGER, *call, *permit) == ("PermitExpired", (now,))
