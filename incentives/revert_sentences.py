"""What each error of the contracts means to a user, and what to do about it: the one table of these sentences.

Arguments stand in the order of the Solidity error. `coins` writes an amount in whole tokens, `time` a moment in UTC,
`span` a number of seconds.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from incentives.units import DECIMALS, ONE

SENTENCES: Mapping[str, str] = {
    # the compiler's own, and what the client finds out by itself
    "Error": "the contract says {0}: change the call accordingly",
    "Panic": "a fault inside the contract (code {0}): report it with the call that led here",
    "OutOfGas": "{0} units of gas were not enough: let the gas be estimated, or give more",
    "NoReason": "no reason was given: read the present state again and repeat the call only if it still makes sense",
    # libraries
    "Reentrancy": "the token called back in the middle of a transfer: this token cannot be used here",
    "SignatureInvalid": "the signature is not by the key that has to sign: sign again with that key, "
    "for this chain and these contracts",
    "TokenMissing": "there is no token contract at {0}: check the address and the chain",
    "TransferFailed": "the token refused to move {1:coins} to {0}: check the balance and the allowance",
    "TransferInexact": "{0:coins} arrived where {1:coins} was sent: tokens that take a fee cannot be used",
    "IntegerOverflow": "{0} is past the {1} that the exact profile allows: no honest trace holds it, check the evidence",
    "ScaleOutOfRange": "the exact profile knows no shift by {0}: check the evidence",
    # the token
    "ERC20InsufficientBalance": "{0} has {1:coins}, {2:coins} is needed: send tokens there first",
    "ERC20InsufficientAllowance": "{0} may take {1:coins}, {2:coins} is needed: approve more",
    "ERC20InvalidReceiver": "{0} cannot receive tokens: check the address",
    "PermitExpired": "the approval was good until {0:time}: sign a new one",
    # stakes
    "StakeTooLow": "{0:coins} would be bonded, the least is {1:coins}: stake more, or take all of it out",
    "StakeShort": "only {0:coins} is bonded, {1:coins} was asked for: ask for less",
    "AmountZero": "an amount of zero changes nothing: give an amount",
    "AlreadyJoined": "{0} is a node already: add stake to it instead",
    "NotJoined": "{0} is no node: join first",
    "ExitPending": "stake is leaving until {0:time}: cancel the exit, or withdraw after that time",
    "NothingExiting": "no stake of {0} is leaving: start an exit first",
    "ExitNotReady": "the stake can be withdrawn from {0:time} on: try again then",
    "NothingToSlash": "{0} has no stake left to slash: nothing to do",
    "NotCourt": "{0} is not the court: only the court's contract may do this",
    "NotNode": "{0} is neither the node's owner nor its present key: use one of these",
    "SignerTaken": "the key {0} belongs to node {1} for ever: make a new key",
    "SpanInvalid": "blocks {0} to {1} are no span: the end must lie behind the start",
    "EndpointTooLong": "the endpoint has {0} characters, {1} are allowed: choose a shorter one",
    "UnbondingInvalid": "an unbonding time of {0:span} is out of range: deploy with another one",
    # channels
    "FundsShort": "only {0:coins} is free, {1:coins} was asked for: deposit more",
    "NotPayer": "{0} is not the channel's payer: use the payer's key",
    "SignerMissing": "the channel names no key that could sign its vouchers: name one",
    "ChannelUnknown": "no such channel was opened: open it first, with the same payer, signer, payees and salt",
    "ChannelClosing": "the channel closes at {0:time}: settle before, and open another one with a new salt",
    "ChannelClosed": "the channel has ended for ever: open another one with a new salt",
    "ChannelNotClosing": "the channel is open: close it first, then wait for its delay",
    "CloseNotReady": "the rest can be reclaimed from {0:time} on: try again then",
    "VoucherStale": "{0:coins} is settled already, the voucher is for {1:coins}: use the newest voucher",
    "VoucherExceedsLock": "the channel has locked {0:coins}, the voucher is for {1:coins}: the payer must add funds first",
    "PayeesInvalid": "the payees' weights add up to {0}: they have to be 10,000 together",
    "PayeeUnknown": "there is no payee number {0} among {1}: check the list of payees",
    "NothingToCollect": "payee number {1} has nothing to collect at present: wait until a voucher is settled and ripe",
    "CloseDelayInvalid": "a closing delay of {0:span} is out of range: deploy with another one",
    "MaturityInvalid": "a maturity of {0:span} is out of range: deploy with another one",
    "CourtMissing": "there is no court at {0}: check the address and the chain",
    "RouteForeign": "the route pays from channel {0}: give the channel and the route of one session",
    "VoucherNotSettled": "{0:coins} is settled, the voucher is for {1:coins}: settle it first",
    "WorkNotHeld": "the work {0} does not hold that session with that amount: give the voucher that says so",
    "NothingToRefund": "nothing of payee number {1} can be refunded for route {0}: it was refunded, or is ripe",
    "ConsentsMissing": "{0} signatures, {1} are needed: have each payee but the audit pool sign, in the order of the list",
    "NothingInBatch": "nothing in the batch would move anything: it has been done already",
    "PayeeDiffers": "the batch is for {0} and a place in it belongs to {1}: make one batch for each payee",
    "PayeesWrong": "these are not the payees that the channel is locked to: give the list that it was opened with",
    "ReleaseExpired": "the payees' consent was good until {0:time}: ask them for a new one",
    "ReleaseStale": "{0:coins} is settled by now, the consent says {1:coins}: ask the payees for a new one",
    # models
    "ModelNotHeld": "these numbers are not under the manifest's root: take them from the manifest's own folder",
    "ModelRegisteredOtherwise": "the manifest was registered with other numbers, which stay: compare them with your own",
    "ModelUnknown": "nobody has registered this manifest: register it first",
    "ParameterOutOfRange": "number {0} of the parameters, counted from 0, is {1}: the exact profile has no such model",
    # reliability
    "NothingWrong": "what was shown is as it should be: nothing to do",
    "TooLate": "the time for this is over in epoch {0}, or it was done before: read the epoch's state again",
    "NotDemanded": "nobody asks to see the leaves of epoch {0}: nothing to do",
    "DeadlineAhead": "the answer may still come until {0:time}: try again then",
    "LeavesForeign": "the list of leaves does not give the root {0}: give the list that it was made of",
    "BaseForeign": "the posting continues epoch {0}, and another root stands: build it anew on the present one",
    "RewardUnfunded": "only {0:coins} is there for rewards: wait until somebody pays in",
    "HalfLifeInvalid": "a half-life of {0} is out of range: deploy with another one",
    "AddressMissing": "the address zero stands for nobody: give a real one",
    "NothingToEnrol": "the table shows the stake of {0} as it is: nothing to do",
    "TableFull": "the table has room for {0} nodes, all taken: use roots in place of it",
    "CapacityInvalid": "a table for {0} nodes is out of range: deploy with another number",
    "EpochInvalid": "an epoch of {0:span} is out of range: deploy with another length",
    "GenesisAhead": "the first epoch would begin at {0:time}, which is to come: deploy with a moment that has been",
    "EpochsOver": "all epochs of this contract have passed: deploy a new one",
    "ReportInvalid": "a report of {0} bytes is none: it has 1 to 128 rows of 28",
    "EpochUnfinished": "that epoch is not over: wait for its end",
    "PostingClosed": "the epoch is over since {0:time}, too long to post its root: post the next one's",
    "EpochTaken": "epoch {0} has a root already: challenge it, or post the next one's",
    "PostingUnknown": "no such root of epoch {0} is there: it was rejected, overwritten, or never posted so",
    "SlotNeeded": "the place of this epoch's root holds the root {0}, which has to be continued: post for the next epoch",
    "EpochInactive": "the root of epoch {0} does not count now: use the active one",
    "StakeGone": "{0} has {1:coins} bonded, too little for this: add stake first",
    "TableEmpty": "nobody is in the table: nobody can be drawn",
    "NotHolder": "{0} was not drawn by ticket {1}: only who was drawn may do this now, everybody after a while",
    "ClocksInvalid": "{0:span} are needed, {1:span} are there: deploy with other times",
    "NothingToWithdraw": "{0} has nothing to withdraw: nothing to do",
    "LeafInvalid": "the proof does not lead from the leaf of {0} to the root: make it from the list that was posted",
    "ProofTooLong": "a proof of {0} nodes is past the {1} that any tree here has: check it",
    # evidence
    "SuiteForeign": "the contract at {0} is not made for the others: deploy the contracts together",
    "CreditInvalid": "a unit of credit for {0:coins}, at most {1} of it: neither may be zero",
    "NotPayee": "{0} is not among the channel's payees: claim for a channel that pays it",
    "PoolShort": "the audit pool gets {0} ten-thousandths of the channel, {1} is the least: such a channel gives no credit",
    "PaysItself": "{0} pays itself: that gives no credit",
    "NothingToClaim": "nothing new that counts was settled to {0}, or the cap is reached: claim later",
    "NotConvicted": "{1} was not convicted on the route {0}: nothing to do",
    "BarredBefore": "the channel {0} gives {1} no credit any more: nothing to do",
    # the court
    "NotEquivocation": "the two receipts do not contradict each other: give two of one slot, by one key, that differ",
    "NotBrokenLink": "the later receipt does not embed the earlier one, or rightly so: give two of which that is not true",
    "NothingOwed": "nothing is owed to {0}: nothing to do",
    "CommitmentKnown": "the commitment {0} was made before: wait for the next second and bring the proof",
    "CommitmentNotRipe": "the finder's commitment {0} is missing, of this second, or over a day old: "
    "commit, then prove in a later block",
    "SignerUnknown": "the key {0} never belonged to a node: nobody can be slashed for it",
    "NotArbiter": "{0} does not judge: only the disputes, the jury, the table of scores and the demands do",
    "ArbiterMissing": "a court without its arbiters: deploy the contracts together",
    "StakeHeld": "a dispute about the node's work may last until {0:time}: withdraw after that",
    # disputes
    "BondShort": "only {0:coins} is free for bonds, {1:coins} is needed: deposit more with the disputes",
    "TooManyChallenges": "{0} bonds are out already: close cases whose clocks have run out, take back the bonds of won disputes",
    "NothingBonded": "no bond lies with the number of {0}: nothing to do",
    "PositionInvalid": "the receipt does not cover position {0}: name one that it does",
    "RouteNotOpened": "these are not the terms of the receipt's route, or the stage is not in its place: give the signed ones",
    "ProfileNotExact": "outputs of profile {0} are not judged by arithmetic: only the exact profile's are",
    "ChallengeTooLate": "outputs of this route could be challenged until {0:time}: it is too late",
    "NotOnRoute": "the key that signed belongs to {0}, which is not that stage of the route: check the receipt",
    "NodeConvicted": "{0} has been convicted on the route {1} already: nothing to do",
    "SlashFailed": "the slash did not come to its end: try again with more gas",
    "DataHidden": "what is opened has to come straight from a key: send it from the node's key, not through a contract",
    "DisputeKnown": "the dispute {0} is still open: follow that one, or take another number",
    "DisputeNotOpen": "there is no open dispute {0}: check what it is about",
    "DisputeAnswered": "the dispute {0} has its answer: nothing to do",
    "DisputeNotAnswered": "the dispute {0} waits for its answer: prove afterwards, or close it once the clock has run out",
    "NotDefender": "{0} is neither the accused node's owner nor a key of it: use one of these",
    "RootMissing": "zero is no root: give the root of the trace",
    "ClockRunOut": "the clock ran out at {0:time}: the dispute can only be closed",
    "ClockRunning": "the clock runs until {0:time}: close the dispute after that",
    "TermsInvalid": "a dispute could last {0:span}, unbonding takes {1:span}, and no clock or bond may be zero: "
    "deploy with others",
    "ReceiptEmpty": "the receipt is about no position: there is nothing to ask for",
    "TokensNotKnown": "the model's last stage gives out tokens, and only where they were asked for: demand its inputs, keys "
    "and values",
    "DemandTooLate": "data of this route could be demanded until {0:time}: it is too late",
    "DemandKnown": "the demand {0} was made before: another account may make its own",
    "DemandNotOpen": "there is no open demand {0}: check what it is about",
    "DemandDrawn": "the leaves of the demand {0} have been drawn: show them",
    "DemandNotDrawn": "the leaves of the demand {0} are still to be drawn: draw them, or close it once the clock has run out",
    "DrawTooEarly": "the hash of block {0} draws: try again two blocks later",
    "StandStale": "the dispute {0} stands elsewhere by now: read its events and try again",
    "TurnOther": "that is not what the dispute waits for, but turn {0}: read its events",
    "LeavesInvalid": "a trace has 1 to 2^40 leaves, not {0}: give its number",
    "NodesForeign": "these are not all the nodes below the one in question: open the tree whose root was posted",
    "PickForeign": "that node is not among those that were opened: pick one of them, with its path",
    "LeafForeign": "the leaf is not the one that was picked, or it states another place: show that leaf",
    "LeavesNotHeld": "the leaves do not lie under the roots they are said to: build the proof again",
    "PlaceInvalid": "the trace has no such element: build the proof again",
    "CourtForeign": "the court at {0} obeys other arbiters: deploy the contracts together",
    # the jury
    "ProfileExact": "outputs of the exact profile are judged by arithmetic: bring this before the disputes",
    "PhaseWrong": "the case {0} is in phase {1}, where this cannot be done: read its state again",
    "TooManyAgainst": "{1} cases against {0} are open already: wait until one is closed",
    "BondInvalid": "a bond of {0:coins} does not fit the fees, it takes {1:coins} at least: deploy with other amounts",
    "TooEarly": "the jury can be drawn from block {0} on: try again then",
    "TableNotServing": "the table of epoch {0} is not the one that counts now: give that one",
    "LotForeign": "the jury was drawn from something else: take seed, root and total from the log of the draw",
    "SeatInvalid": "this round has no seat {0}, or not so many tickets for it: check the number",
    "SeatTaken": "seat {0} is taken: nothing to do",
    "SeatReserved": "the seat is for the holder of its first ticket until {0:time}: try again after that",
    "JurorBarred": "{0} works on the route or is a party: it cannot be a juror here",
    "CommitmentMissing": "zero is no sealed vote: seal one first",
    "CommitmentForeign": "nobody sealed that vote for seat {0}, or it was opened before: check juror, vote and salt",
    "VoteInvalid": "{0} is no vote: 1 is wrong, 2 is fine, 3 is no opinion",
    "NotLoser": "{0} did not lose by the verdict {1}: only who lost may appeal",
    "ProductInvalid": "the trace has no such product, or it is for the judge of every element: prove it as an element",
    "ProofMalformed": "the proof is shorter or longer than it says: build it again",
    "ReceiptForeign": "these are not the disputed receipt and another one by the same stage: give the signed ones",
    "StakesForeign": "the stakes at {0} obey another court: deploy the contracts together",
}
UNKNOWN = "an error that this version does not know: check that the contracts are the ones of the deployment file"
MAX_TIME = 253_402_300_799
"""The last second that has a date of four digits."""


class _Shown:
    """An argument that a template may write in more than one way; never an error, since contracts choose the values."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __format__(self, form: str) -> str:
        value = self._value
        if isinstance(value, bytes):
            return "0x" + value.hex()
        if not isinstance(value, int) or value < 0:
            return str(value)[:500]
        return _FORMS.get(form, str)(value)


def _coins(amount: int) -> str:
    whole, fraction = divmod(amount, ONE)  # of 256 bits here, more than an amount may have
    digits = f"{fraction:0{DECIMALS}}".rstrip("0")
    return f"{whole}.{digits} tokens" if digits else f"{whole} tokens"


def _time(seconds: int) -> str:
    if seconds > MAX_TIME:
        return "the end of time"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: int) -> str:
    return f"{seconds} s"


_FORMS = {"coins": _coins, "time": _time, "span": _span}


def sentence(name: str, arguments: Sequence[Any]) -> str:
    """What an error means and what to do about it; UNKNOWN for an unknown one, and for arguments that do not fit it."""
    template = SENTENCES.get(name)
    if template is None:
        return UNKNOWN
    try:
        return template.format(*map(_Shown, arguments))
    except IndexError:  # a known error with nonsense behind it
        return UNKNOWN
