// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Challenges, DisputeTerms} from "./Challenges.sol";
import {Judge} from "./Judge.sol";
import {Proofs} from "./Proofs.sol";
import {Verdicts} from "./Verdicts.sol";

/// @title Disputes about outputs in the exact profile
/// @dev In four rooms: Docket keeps what stands, Descent fights for what is withheld, Challenges opens, answers and closes,
/// Proofs convicts.
contract Disputes is Proofs {
    constructor(Verdicts court_, Judge judge_, DisputeTerms memory terms) Challenges(court_, judge_, terms) {}
}
