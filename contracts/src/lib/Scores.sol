// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The arithmetic of reliability
/// @dev A record is two masses of evidence in Q16.16, for (a) and against (b) a node; with the prior
/// (1, 1) they are a Beta distribution. Masses halve in a half-life and stop at the end of 32 bits.
/// Masses, credits and numbers of faults have to have 32 bits at most. Every function is a pure
/// integer function that incentives/scores.py mirrors.
library Scores {
    uint256 internal constant ONE = 1 << 16;
    /// @dev What a fault weighs at least, as much as fifty audited units of work.
    uint256 internal constant FAULT = 50 << 16;
    /// @dev The least is reached long before: more faults in one epoch count as this many.
    uint256 internal constant MAX_FAULTS = 32;
    uint256 internal constant WHOLE = 10_000;

    uint256 private constant MAX_MASS = type(uint32).max;
    /// @dev Factors are in Q120; LN2 is the natural logarithm of two, rounded down.
    uint256 private constant UNIT = 1 << 120;
    uint256 private constant LN2 = 921350637599661305226344307672478454;
    /// @dev The first term left out is below 2^-86.
    uint256 private constant TERMS = 22;

    /// @dev The part, in Q120, that is left of a mass after `elapsed` seconds: 2^(-elapsed / halfLife).
    /// Its error is below 2^-85. So decay(s) then decay(t) is within one unit in the last place of
    /// decay(s + t): with k for the factors and e in [0, 1) for what rounding cut off, the two differ
    /// by e * k(t) plus 2^32 * 2^-83 at most before the last rounding; for t >= 1 and any half-life up
    /// to 2^29 seconds k(t) < 1 - 2^-30, and for t = 0 it is 1 without an error.
    function kept(uint256 elapsed, uint256 halfLife) internal pure returns (uint256 factor) {
        uint256 halvings = elapsed / halfLife;
        if (halvings >= 120) return 0;
        uint256 x = (elapsed % halfLife * UNIT / halfLife * LN2) >> 120;
        factor = UNIT;
        // Horner's form of e^-x = 1 - x/1 (1 - x/2 (1 - x/3 (...))), with 0 <= x < ln 2.
        for (uint256 k = TERMS; k != 0; --k) {
            factor = UNIT - ((x * factor) >> 120) / k;
        }
        return factor >> halvings;
    }

    /// @dev Rounded down, so that a mass ends at zero.
    function decayed(uint256 mass, uint256 factor) internal pure returns (uint256) {
        unchecked {
            return (mass * factor) >> 120; // 32 bits times 121
        }
    }

    /// @dev First the credit, then the faults, so that no credit of the same epoch shelters from them.
    /// A fault weighs as much as all the good there is, which it also halves.
    function updated(uint256 a, uint256 b, uint256 credit, uint256 faults)
        internal
        pure
        returns (uint256 newA, uint256 newB)
    {
        unchecked {
            // Sums of two numbers of 32 bits.
            (newA, newB) = (min(a + credit, MAX_MASS), b);
            if (faults > MAX_FAULTS) faults = MAX_FAULTS;
            for (; faults != 0; --faults) {
                newB = min(newB + (newA > FAULT ? newA : FAULT), MAX_MASS);
                newA /= 2;
            }
        }
    }

    /// @dev The lower confidence bound mean - 1 / sqrt(n + 1), n = a + b + 2, in ten-thousandths; zero
    /// if negative. A Beta's deviation is at most half of that root's inverse: two deviations at least.
    /// It rises with a and falls with b. By a the slope is above (b + 1) / n^2; by b, wherever the
    /// bound is positive, (a + 1) / n > 1 / sqrt(n + 1), it is below -1 / (2 n^1.5). A step of a mass is
    /// 2^-16 and n below 2^17, so a step moves the bound by 2^-50 at least, and the root's error of 2^-80
    /// cannot turn the order of two results.
    function published(uint256 a, uint256 b) internal pure returns (uint256) {
        uint256 n = a + b + 2 * ONE;
        uint256 root = sqrt((n + ONE) << 144);
        uint256 gain = (a + ONE) * root;
        uint256 loss = n << 80;
        return gain > loss ? WHOLE * (gain - loss) / (n * root) : 0;
    }

    /// @dev The credit for what one payer settled to one node in one epoch. `cap` bounds what anybody
    /// can buy for himself.
    function creditOf(uint256 fee, uint256 feeUnit, uint256 cap) internal pure returns (uint256) {
        return fee >= feeUnit * (cap / ONE + 1) ? cap : min(fee * ONE / feeUnit, cap);
    }

    /// @dev The root rounded down, by Newton's method from above.
    function sqrt(uint256 x) internal pure returns (uint256 root) {
        if (x == 0) return 0;
        root = 1;
        for (uint256 rest = x; rest != 0; rest >>= 2) {
            root <<= 1;
        }
        while (true) {
            uint256 next = (root + x / root) / 2;
            if (next >= root) return root;
            root = next;
        }
    }

    function min(uint256 x, uint256 y) private pure returns (uint256) {
        return x < y ? x : y;
    }
}
