// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {AnchorLog} from "contracts/AnchorLog.sol";
import {IAnchorLog} from "contracts/interfaces/IAnchorLog.sol";
import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {Founding} from "./Founding.sol";
import {vm} from "./Vm.sol";

/// @dev Anchors as two members and a stranger, rightly and wrongly, and keeps its own books.
contract AnchorLogHandler is Founding {
    AnchorLog public immutable log;
    address[3] public senders = [address(0xA11CE), address(0xB0B), address(0xE4E)];

    mapping(address => bytes32[]) internal batches;
    mapping(address => bytes32) public root;
    mapping(address => uint64) public instances;

    constructor() {
        IConsortium consortium = found(senders[0]);
        admit(consortium, senders[0], senders[1]);
        log = new AnchorLog(consortium);
    }

    function anchored(address sender) external view returns (bytes32[] memory) {
        return batches[sender];
    }

    function send(address sender, bytes32 batch, uint64 sequence, bytes32 previous, bytes32 next, uint32 count)
        internal
        returns (bool done)
    {
        IAnchorLog.Study[] memory list = new IAnchorLog.Study[](1);
        list[0] = IAnchorLog.Study(batch, 1);
        vm.prank(sender);
        (done,) = address(log).call(abi.encodeCall(IAnchorLog.anchor, (batch, sequence, previous, next, count, list)));
    }

    function held(address sender, bytes32 batch) internal view returns (bool) {
        for (uint256 i = 0; i < batches[sender].length; i++) {
            if (batches[sender][i] == batch) return true;
        }
        return false;
    }

    /// @dev In order: accepted where the sender is a member and the batch is new (ids from 16, so that they repeat).
    function inOrder(uint256 who, uint256 id, bytes32 next, uint32 count) external {
        address sender = senders[who % 3];
        bytes32 batch = keccak256(abi.encode(id % 16));
        bool right = who % 3 != 2 && next != 0 && count != 0 && !held(sender, batch);
        vm.roll(block.number + 1);
        vm.assertTrue(right == send(sender, batch, uint64(batches[sender].length), root[sender], next, count));
        if (!right) return;
        batches[sender].push(batch);
        root[sender] = next;
        instances[sender] += count;
    }

    /// @dev Anything else: refused.
    function outOfOrder(uint256 who, bytes32 batch, uint64 sequence, bytes32 previous) external {
        address sender = senders[who % 2];
        if (sequence == batches[sender].length && previous == root[sender]) return;
        vm.assertTrue(!send(sender, batch, sequence, previous, batch, 1));
    }
}

contract AnchorLogInvariant {
    AnchorLogHandler internal handler;

    function setUp() public {
        handler = new AnchorLogHandler();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    function invariant_headsFollowWhatWasAnchored() public view {
        for (uint256 i = 0; i < 3; i++) {
            address sender = handler.senders(i);
            (bytes32 root, uint64 sequence, uint64 instances) = handler.log().head(sender);
            vm.assertEq(root, handler.root(sender));
            vm.assertEq(sequence, handler.anchored(sender).length);
            vm.assertEq(instances, handler.instances(sender));
        }
    }

    function invariant_everyBatchKeepsItsPlace() public view {
        for (uint256 i = 0; i < 3; i++) {
            address sender = handler.senders(i);
            bytes32[] memory batches = handler.anchored(sender);
            uint64 last = 0;
            for (uint256 j = 0; j < batches.length; j++) {
                (uint64 blockNumber, uint64 sequence) = handler.log().anchorOf(sender, batches[j]);
                vm.assertEq(sequence, j);
                vm.assertTrue(blockNumber > last);
                last = blockNumber;
            }
        }
    }
}
