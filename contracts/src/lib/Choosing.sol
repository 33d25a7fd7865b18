// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "./Elements.sol";
import {ExactMath} from "./ExactMath.sol";
import {Formulas} from "./Formulas.sol";
import {Claim} from "./Operations.sol";

/// @title Elements on the way from logits to a token: section 6 of sharding/exact/SPEC.md
library Choosing {
    int256 private constant MAX_WORD = (1 << 64) - 1;
    int256 private constant MAX_ID = (1 << 32) - 1;

    /// @dev The best so far, and where the piece begins. ids: of the piece's values, empty where they are the places.
    struct Best {
        int256 place;
        int256 value;
        int256 id;
        int256 first;
        int256 kept;
    }

    /// @dev The place of the largest value among those that count, of the lowest id among equals.
    function best(Best memory found, bytes calldata values, uint256 size, bytes calldata ids)
        internal
        pure
        returns (int256)
    {
        uint256 count = values.length / size;
        for (uint256 k = 0; k < count; ++k) {
            int256 place = found.first + int256(k);
            if (place >= found.kept) break;
            int256 value = Elements.get(values, size, k);
            int256 id = ids.length == 0 ? place : Elements.get(ids, 4, k);
            if (value > found.value || (value == found.value && id < found.id)) {
                (found.place, found.value, found.id) = (place, value, id);
            }
        }
        return found.place;
    }

    /// @dev Whether the id may stand at that place of the order, behind the one before it.
    function isRank(int256 place, int256 before, int256 itsLogit, int256 logit, int256 vocabulary, int256 claimed)
        internal
        pure
        returns (bool)
    {
        if (claimed < 0 || claimed >= vocabulary) return false;
        return place == 0 || itsLogit > logit || (itsLogit == logit && before < claimed);
    }

    function nucleusWeight(int256 highest, int256 logit, int256 tau) internal pure returns (Claim memory) {
        if (tau < 1 || highest < logit) return Formulas.nothing();
        return Formulas.number(int256(ExactMath.nucleusWeight(highest, logit, uint256(tau))));
    }

    /// @dev One more for each candidate before which the weights have not reached the quota.
    function nucleusCount(
        int256 counted,
        int256 share,
        int256 total,
        int256 reached,
        bytes calldata weights,
        uint256 size
    ) internal pure returns (int256) {
        int256 quota = (share * total + 65535) >> 16;
        uint256 count = weights.length / size;
        for (uint256 k = 0; k < count; ++k) {
            if (reached < quota) ++counted;
            reached += Elements.get(weights, size, k);
        }
        return counted;
    }

    function noiseCell(int256 seed, int256 position, int256 id) internal pure returns (Claim memory) {
        if (seed < 0 || seed > MAX_WORD || position < 0 || position > MAX_WORD || id < 0 || id > MAX_ID) {
            return Formulas.nothing();
        }
        uint64 key = ExactMath.noiseKey(uint64(uint256(seed)), uint64(uint256(position)));
        return Formulas.number(int256(ExactMath.noiseIndex(key, uint256(id))));
    }

    function sampleScore(int256 logit, int256 tau, int256 noise) internal pure returns (Claim memory) {
        return Formulas.number((logit << 16) + tau * noise);
    }
}
