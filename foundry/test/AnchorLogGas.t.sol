// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {AnchorLog} from "contracts/AnchorLog.sol";
import {IAnchorLog} from "contracts/interfaces/IAnchorLog.sol";
import {Founding} from "./Founding.sol";
import {vm} from "./Vm.sol";

/// @dev What whole transactions cost (foundry.toml isolates calls); the snapshot is committed and compared.
contract AnchorLogGas is Founding {
    /// @dev 400 gas for each of 256 instances.
    uint256 internal constant BUDGET = 102_400;

    AnchorLog internal log;
    address internal member = address(0xA11CE);

    function setUp() public {
        log = new AnchorLog(found(member));
    }

    function word(string memory name, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode(name, i));
    }

    function transact(string memory name, uint64 sequence, uint32 count, uint256 studies) internal returns (uint256) {
        IAnchorLog.Study[] memory list = new IAnchorLog.Study[](studies);
        for (uint256 i = 0; i < studies; i++) {
            list[i] = IAnchorLog.Study(word("study", i), 12_345);
        }
        bytes32 previous = sequence == 0 ? bytes32(0) : word("root", sequence - 1);
        vm.prank(member);
        log.anchor(word("batch", sequence), sequence, previous, word("root", sequence), count, list);
        return vm.snapshotGasLastCall("AnchorLog", name);
    }

    function test_firstBatchOfOne() public {
        transact("first batch, 1 instance", 0, 1, 1);
    }

    function test_batchOfOne() public {
        transact("first batch, 1 instance", 0, 1, 1);
        transact("1 instance", 1, 1, 1);
    }

    function test_batchOf256InSixStudies() public {
        transact("first batch, 1 instance", 0, 1, 1);
        uint256 gas = transact("256 instances, 6 studies", 1, 256, 6);
        vm.assertLe(gas, BUDGET);
        vm.snapshotValue("AnchorLog", "256 instances, 6 studies: an instance", gas / 256);
    }

    function test_batchOf256In256Studies() public {
        transact("first batch, 1 instance", 0, 1, 1);
        transact("256 instances, 256 studies", 1, 256, 256);
    }
}
