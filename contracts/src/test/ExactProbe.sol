// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ExactDot} from "../lib/ExactDot.sol";
import {ExactMath} from "../lib/ExactMath.sol";

/// @title The exact profile's arithmetic, callable from outside. For tests only.
/// @dev Unsigned arguments and results travel as int256 with the same bits; a truth is 1 or 0.
contract ExactProbe {
    /// @notice There is no such operation, or not of so many arguments.
    error OperationUnknown(string name, uint256 arguments);

    /// @notice Every row of `width` numbers through one operation; two for each come back.
    /// @param rows The encoding of an int256[], as bytes: clients are slow at writing long arrays.
    function evaluate(string calldata name, uint256 width, bytes calldata rows) external pure returns (bytes memory) {
        int256[] memory numbers = abi.decode(rows, (int256[]));
        int256[] memory results = new int256[](numbers.length / width * 2);
        int256[] memory arguments = new int256[](width);
        bytes32 op = keccak256(bytes(name));
        for (uint256 row = 0; row < results.length; row += 2) {
            for (uint256 k = 0; k < width; ++k) arguments[k] = numbers[row / 2 * width + k];
            (results[row], results[row + 1]) = one(op, arguments, name);
        }
        return abi.encodePacked(results);
    }

    /// @notice The gas that 128 products take, words in memory and the library's code only.
    function gasOfDots(uint256[4] memory weights, uint256[8] memory a, uint256[8] memory b)
        external
        view
        returns (uint256 ofWeights, uint256 ofHeads, int256 sum)
    {
        uint256 first = gasleft();
        sum = ExactDot.dotWeights(weights, a);
        uint256 second = gasleft();
        sum += ExactDot.dotHeads(a, b);
        return (first - second, second - gasleft(), sum);
    }

    function one(bytes32 op, int256[] memory a, string calldata name) private pure returns (int256, int256) {
        if (a.length == 2) return (two(op, a[0], a[1], name), 0);
        if (a.length == 3) return (three(op, a[0], a[1], a[2], name), 0);
        if (a.length == 4) return four(op, a, name);
        if (a.length == 12 && op == keccak256("dotWeights")) {
            return (ExactDot.dotWeights(weightsOf(a), wordsOf(a, 4)), 0);
        }
        if (a.length == 16 && op == keccak256("dotHeads")) {
            return (ExactDot.dotHeads(wordsOf(a, 0), wordsOf(a, 8)), 0);
        }
        if (a.length == 5 && op == keccak256("isNorm")) {
            return (truth(ExactMath.isNorm(u(a[0]), u(a[1]), u(a[2]), u(a[3]), u(a[4]))), 0);
        }
        if (a.length == 1) return single(op, a[0], name);
        revert OperationUnknown(name, a.length);
    }

    function single(bytes32 op, int256 a, string calldata name) private pure returns (int256, int256) {
        if (op == keccak256("bits")) return (i(ExactMath.bits(u(a))), 0);
        if (op == keccak256("halves")) return ExactMath.halves(a);
        if (op == keccak256("exp2")) return (i(ExactMath.exp2(u(a))), 0);
        if (op == keccak256("int32Of")) return (ExactMath.int32Of(a), 0);
        if (op == keccak256("normExponent")) return (i(ExactMath.normExponent(u(a))), 0);
        if (op == keccak256("normShift")) return (i(ExactMath.normShift(u(a))), 0);
        if (op == keccak256("compressExponent")) return (i(ExactMath.compressExponent(u(a))), 0);
        revert OperationUnknown(name, 1);
    }

    function two(bytes32 op, int256 a, int256 b, string calldata name) private pure returns (int256) {
        if (op == keccak256("rsh")) return ExactMath.rsh(a, u(b));
        if (op == keccak256("isRoot")) return truth(ExactMath.isRoot(u(a), u(b)));
        if (op == keccak256("packElement")) return ExactMath.packElement(a, u(b));
        if (op == keccak256("projectShift")) return i(ExactMath.projectShift(u(a), b));
        if (op == keccak256("compressElement")) return ExactMath.compressElement(a, u(b));
        if (op == keccak256("max")) return ExactMath.max(a, b);
        if (op == keccak256("attentionWeight")) return i(ExactMath.attentionWeight(a, b));
        if (op == keccak256("isReciprocal")) return truth(ExactMath.isReciprocal(u(a), u(b)));
        if (op == keccak256("gateElement")) return ExactMath.gateElement(a, b);
        if (op == keccak256("gateValue")) return ExactMath.gateValue(a, b);
        if (op == keccak256("add")) return ExactMath.add(a, b);
        if (op == keccak256("nucleusQuota")) return i(ExactMath.nucleusQuota(u(a), u(b)));
        if (op == keccak256("noiseKey")) return i(ExactMath.noiseKey(uint64(u(a)), uint64(u(b))));
        if (op == keccak256("noiseIndex")) return i(ExactMath.noiseIndex(uint64(u(a)), u(b)));
        revert OperationUnknown(name, 2);
    }

    function three(bytes32 op, int256 a, int256 b, int256 c, string calldata name) private pure returns (int256) {
        if (op == keccak256("isQuotient")) return truth(ExactMath.isQuotient(u(a), u(b), u(c)));
        if (op == keccak256("normSquare")) return i(ExactMath.normSquare(u(a), u(b), u(c)));
        if (op == keccak256("normElement")) return ExactMath.normElement(a, u(b), u(c));
        if (op == keccak256("headNormElement")) return ExactMath.headNormElement(a, b, u(c));
        if (op == keccak256("headNormValue")) return ExactMath.headNormValue(a, b, u(c));
        if (op == keccak256("loweredWeight")) return ExactMath.loweredWeight(u(a), u(b), u(c));
        if (op == keccak256("nucleusWeight")) return i(ExactMath.nucleusWeight(a, b, u(c)));
        if (op == keccak256("sampleScore")) return ExactMath.sampleScore(a, u(b), c);
        revert OperationUnknown(name, 3);
    }

    function four(bytes32 op, int256[] memory a, string calldata name) private pure returns (int256, int256) {
        if (op == keccak256("isPackShift")) {
            return (truth(ExactMath.isPackShift(u(a[0]), u(a[1]), u(a[2]), u(a[3]))), 0);
        }
        if (op == keccak256("projectElement")) return (ExactMath.projectElement(a[0], a[1], u(a[2]), a[3]), 0);
        if (op == keccak256("projectValue")) return (ExactMath.projectValue(a[0], a[1], u(a[2]), a[3]), 0);
        if (op == keccak256("rotate")) return ExactMath.rotate(a[0], a[1], a[2], a[3]);
        if (op == keccak256("score")) return (ExactMath.score(a[0], a[1], u(a[2]), u(a[3])), 0);
        if (op == keccak256("mixElement")) return (ExactMath.mixElement(a[0], u(a[1]), u(a[2]), u(a[3])), 0);
        if (op == keccak256("embedElement")) return (ExactMath.embedElement(a[0], a[1], a[2], u(a[3])), 0);
        if (op == keccak256("embedValue")) return (ExactMath.embedValue(a[0], a[1], a[2], u(a[3])), 0);
        if (op == keccak256("precedes")) return (truth(ExactMath.precedes(a[0], u(a[1]), a[2], u(a[3]))), 0);
        revert OperationUnknown(name, 4);
    }

    function weightsOf(int256[] memory a) private pure returns (uint256[4] memory words) {
        for (uint256 k = 0; k < 4; ++k) words[k] = u(a[k]);
    }

    function wordsOf(int256[] memory a, uint256 first) private pure returns (uint256[8] memory words) {
        for (uint256 k = 0; k < 8; ++k) words[k] = u(a[first + k]);
    }

    function truth(bool value) private pure returns (int256) {
        return value ? int256(1) : int256(0);
    }

    function u(int256 value) private pure returns (uint256) {
        return uint256(value);
    }

    function i(uint256 value) private pure returns (int256) {
        return int256(value);
    }
}
