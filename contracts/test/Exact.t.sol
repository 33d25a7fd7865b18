// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ExactDot} from "../src/lib/ExactDot.sol";
import {ExactMath} from "../src/lib/ExactMath.sol";
import {Suite} from "./Suite.sol";

/// @title The exact profile's arithmetic for every number; the vectors of the specification are the Python tests'
contract ExactTest is Suite {
    function rsh(int256 a, uint256 s) external pure returns (int256) {
        return ExactMath.rsh(a, s);
    }

    function projectShift(uint256 shift, int256 fraction) external pure returns (uint256) {
        return ExactMath.projectShift(shift, fraction);
    }

    function int32Of(int256 value) external pure returns (int256) {
        return ExactMath.int32Of(value);
    }

    function halves(int256 value) external pure returns (int256, int256) {
        return ExactMath.halves(value);
    }

    function testFuzz_a_shift_rounds_to_the_nearest(int128 a, uint256 s) public {
        if (s > 254) {
            vm.expectRevert(abi.encodeWithSelector(ExactMath.ScaleOutOfRange.selector, int256(s)));
            this.rsh(a, s);
        }
        s = bound(s, 1, 120);
        int256 unit = int256(1) << s;
        int256 twice = 2 * (this.rsh(a, s) * unit - a); // between -unit, exclusive, and unit
        assert(-unit < twice && twice <= unit && this.rsh(a, 0) == a);
    }

    function testFuzz_numbers_past_32_bits_revert(int256 value) public {
        int256 limit = (1 << 31) - 1;
        bool past = value > limit || value < -limit;
        if (past) vm.expectRevert(abi.encodeWithSelector(ExactMath.IntegerOverflow.selector, value, limit));
        int256 same = this.int32Of(value);
        assert(past || same == value);
    }

    function packElement(int256 t) external pure returns (int256) {
        return ExactMath.packElement(t, 0);
    }

    function compressExponent(uint256 m) external pure returns (uint256) {
        return ExactMath.compressExponent(m);
    }

    function testFuzz_vectors_and_heads_keep_their_limits(int256 t, uint256 m) public {
        t %= 70_000;
        bool past = t > 32_639 || t < -32_639;
        if (past) vm.expectRevert(abi.encodeWithSelector(ExactMath.IntegerOverflow.selector, t, int256(32_639)));
        this.packElement(t);
        m = bound(m, 0, 1 << 29);
        past = m > (1 << 28) - 1;
        bytes4 reason = ExactMath.IntegerOverflow.selector;
        if (past) vm.expectRevert(abi.encodeWithSelector(reason, int256(m), int256((1 << 28) - 1)));
        assert(past || this.compressExponent(m) <= 16);
        if (past) this.compressExponent(m);
    }

    function testFuzz_halves_are_put_together_again(int256 value) public {
        bool past = value > 32_639 || value < -32_639;
        if (past) vm.expectRevert(abi.encodeWithSelector(ExactMath.IntegerOverflow.selector, value, int256(32_639)));
        (int256 hi, int256 lo) = this.halves(value);
        assert(past || (256 * hi + lo == value && -128 <= lo && lo <= 127 && -128 <= hi && hi <= 127));
    }

    function testFuzz_no_projection_shifts_to_the_left(uint8 shift, int8 fraction) public {
        int256 p = int256(uint256(shift)) + fraction - 16;
        if (p < 0) vm.expectRevert(abi.encodeWithSelector(ExactMath.ScaleOutOfRange.selector, p));
        uint256 found = this.projectShift(shift, fraction);
        assert(p < 0 || found == uint256(p));
    }

    function testFuzz_a_root_has_one_value(uint256 a, uint256 r) public pure {
        a = bound(a, 0, (1 << 254) - 1);
        uint256 root = sqrt(a);
        assert(ExactMath.isRoot(a, root) && (r == root || !ExactMath.isRoot(a, r)));
        assert(!ExactMath.isRoot(a, root + 1) && (root == 0 || !ExactMath.isRoot(a, root - 1)));
    }

    function testFuzz_128_weights_at_once(int8[128] memory w, int16[128] memory x) public pure {
        uint256[4] memory weights;
        uint256[8] memory activations;
        int256 sum;
        for (uint256 k = 0; k < 128; ++k) {
            sum += int256(w[k]) * x[k];
            weights[k / 32] |= uint256(uint8(w[k])) << (8 * (31 - k % 32));
            activations[k / 16] |= littleEndian(x[k]) << (16 * (15 - k % 16));
        }
        assert(ExactDot.dotWeights(weights, activations) == sum);
    }

    function testFuzz_128_numbers_of_heads_at_once(int16[128] memory a, int16[128] memory b) public pure {
        uint256[8] memory left;
        uint256[8] memory right;
        int256 sum;
        for (uint256 k = 0; k < 128; ++k) {
            sum += int256(a[k]) * b[k];
            left[k / 16] |= littleEndian(a[k]) << (16 * (15 - k % 16));
            right[k / 16] |= littleEndian(b[k]) << (16 * (15 - k % 16));
        }
        assert(ExactDot.dotHeads(left, right) == sum);
    }

    function littleEndian(int16 x) private pure returns (uint256) {
        uint256 word = uint16(x);
        return (word >> 8) | ((word & 0xff) << 8);
    }

    function sqrt(uint256 a) private pure returns (uint256 r) {
        for (uint256 bit = 1 << 127; bit != 0; bit >>= 1) {
            if ((r + bit) * (r + bit) <= a) r += bit;
        }
    }
}
