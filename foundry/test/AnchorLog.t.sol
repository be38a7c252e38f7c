// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {AnchorLog} from "contracts/AnchorLog.sol";
import {IAnchorLog} from "contracts/interfaces/IAnchorLog.sol";
import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {Founding} from "./Founding.sol";
import {vm, Vm} from "./Vm.sol";

contract AnchorLogTest is Founding {
    address internal constant ALICE = address(0xA11CE);
    address internal constant BOB = address(0xB0B);
    bytes32 internal constant ROOT = bytes32(uint256(0xabc));

    IConsortium internal consortium;
    AnchorLog internal log;

    function setUp() public {
        consortium = found(ALICE);
        admit(consortium, ALICE, BOB);
        log = new AnchorLog(consortium);
    }

    function studies(uint256 n) internal pure returns (IAnchorLog.Study[] memory list) {
        list = new IAnchorLog.Study[](n);
        for (uint256 i = 0; i < n; i++) {
            list[i] = IAnchorLog.Study(keccak256(abi.encode("study", i)), uint64(i + 1));
        }
    }

    function anchor(address from, bytes32 batch, uint64 sequence, bytes32 previousRoot, bytes32 root) internal {
        vm.prank(from);
        log.anchor(batch, sequence, previousRoot, root, 1, studies(1));
    }

    function refused(bytes memory reason, bytes32 batch, uint64 sequence, bytes32 previousRoot) internal {
        vm.expectRevert(reason);
        anchor(ALICE, batch, sequence, previousRoot, ROOT);
    }

    function test_membersAreThoseOfTheConsortium() public view {
        vm.assertEq(log.consortium(), address(consortium));
        vm.assertTrue(log.isMember(ALICE));
        vm.assertTrue(log.isMember(BOB));
        vm.assertTrue(!log.isMember(address(this)));
    }

    function test_aConsortiumIsAContract() public {
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.NoConsortium.selector, BOB));
        new AnchorLog(IConsortium(BOB));
    }

    function test_whoIsRemovedAnchorsNoMore_andGoesOnOnceAdmittedAgain() public {
        anchor(BOB, bytes32(uint256(1)), 0, 0, ROOT);
        vm.prank(BOB);
        consortium.resign();
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.NotMember.selector, BOB));
        anchor(BOB, bytes32(uint256(2)), 1, ROOT, ROOT);
        (bytes32 root, uint64 sequence,) = log.head(BOB);
        vm.assertEq(root, ROOT);
        vm.assertEq(sequence, 1);
        admit(consortium, ALICE, BOB);
        anchor(BOB, bytes32(uint256(2)), 1, ROOT, ROOT);
        (, sequence,) = log.head(BOB);
        vm.assertEq(sequence, 2);
    }

    function test_anchorEmitsTheBatchThenItsStudies() public {
        IAnchorLog.Study[] memory list = studies(2);
        vm.expectEmit(address(log));
        emit IAnchorLog.Anchored(ALICE, bytes32(uint256(1)), 0, 0, ROOT, 3);
        vm.expectEmit(address(log));
        emit IAnchorLog.StudyAnchored(list[0].studyReference, ALICE, 0, list[0].total);
        vm.expectEmit(address(log));
        emit IAnchorLog.StudyAnchored(list[1].studyReference, ALICE, 0, list[1].total);
        vm.prank(ALICE);
        log.anchor(bytes32(uint256(1)), 0, 0, ROOT, 3, list);
    }

    function test_anchorMovesTheHeadAndIsFound() public {
        vm.roll(77);
        anchor(ALICE, bytes32(uint256(1)), 0, 0, ROOT);
        (bytes32 root, uint64 sequence, uint64 instances) = log.head(ALICE);
        vm.assertEq(root, ROOT);
        vm.assertEq(sequence, 1);
        vm.assertEq(instances, 1);
        (uint64 blockNumber, uint64 place) = log.anchorOf(ALICE, bytes32(uint256(1)));
        vm.assertEq(blockNumber, 77);
        vm.assertEq(place, 0);
        (blockNumber,) = log.anchorOf(BOB, bytes32(uint256(1)));
        vm.assertEq(blockNumber, 0);
    }

    function test_institutionsDoNotShareAChain() public {
        anchor(ALICE, bytes32(uint256(1)), 0, 0, ROOT);
        anchor(BOB, bytes32(uint256(1)), 0, 0, ROOT);
        anchor(BOB, bytes32(uint256(2)), 1, ROOT, keccak256("b"));
        (, uint64 alice,) = log.head(ALICE);
        (, uint64 bob,) = log.head(BOB);
        vm.assertEq(alice, 1);
        vm.assertEq(bob, 2);
    }

    function test_onlyMembersAnchor(address sender) public {
        vm.assume(!log.isMember(sender));
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.NotMember.selector, sender));
        anchor(sender, bytes32(uint256(1)), 0, 0, ROOT);
    }

    function test_aBatchIsAcceptedOnce() public {
        vm.roll(5);
        anchor(ALICE, bytes32(uint256(1)), 0, 0, ROOT);
        refused(
            abi.encodeWithSelector(IAnchorLog.AlreadyAnchored.selector, bytes32(uint256(1)), 5),
            bytes32(uint256(1)),
            1,
            ROOT
        );
        refused(abi.encodeWithSelector(IAnchorLog.OutOfSequence.selector, 1, 0), bytes32(uint256(1)), 0, 0);
    }

    function test_batchesComeInSequence(uint64 sequence) public {
        anchor(ALICE, bytes32(uint256(1)), 0, 0, ROOT);
        vm.assume(sequence != 1);
        refused(
            abi.encodeWithSelector(IAnchorLog.OutOfSequence.selector, 1, sequence), bytes32(uint256(2)), sequence, ROOT
        );
    }

    function test_batchesFollowThePreviousRoot(bytes32 previousRoot) public {
        anchor(ALICE, bytes32(uint256(1)), 0, 0, ROOT);
        vm.assume(previousRoot != ROOT);
        refused(
            abi.encodeWithSelector(IAnchorLog.PreviousRootMismatch.selector, ROOT, previousRoot),
            bytes32(uint256(2)),
            1,
            previousRoot
        );
    }

    function test_theFirstBatchFollowsNothing(bytes32 previousRoot) public {
        vm.assume(previousRoot != 0);
        refused(
            abi.encodeWithSelector(IAnchorLog.PreviousRootMismatch.selector, bytes32(0), previousRoot),
            bytes32(uint256(1)),
            0,
            previousRoot
        );
    }

    function test_emptyBatchesAreRefused() public {
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.EmptyBatch.selector));
        log.anchor(bytes32(uint256(1)), 0, 0, ROOT, 0, studies(1));
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.EmptyBatch.selector));
        log.anchor(bytes32(uint256(1)), 0, 0, 0, 1, studies(1));
    }

    function test_studiesFitTheCount(uint8 count, uint8 number) public {
        vm.assume(count != 0);
        if (number == 0 || number > count) {
            vm.expectRevert(abi.encodeWithSelector(IAnchorLog.StudyCountOutOfRange.selector, number, count));
        }
        vm.prank(ALICE);
        log.anchor(bytes32(uint256(1)), 0, 0, ROOT, count, studies(number));
    }

    function test_aNamedStudyHasInstances() public {
        IAnchorLog.Study[] memory list = studies(2);
        list[1].total = 0;
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.EmptyStudy.selector, list[1].studyReference));
        log.anchor(bytes32(uint256(1)), 0, 0, ROOT, 2, list);
        (, uint64 sequence,) = log.head(ALICE);
        vm.assertEq(sequence, 0);
    }

    /// @dev What a log reader gets is what was given, for any values.
    function test_eventsCarryWhatWasGiven(bytes32 batch, bytes32 root, uint32 count, bytes32 ref, uint64 total) public {
        vm.assume(root != 0 && count != 0 && total != 0);
        IAnchorLog.Study[] memory list = new IAnchorLog.Study[](1);
        list[0] = IAnchorLog.Study(ref, total);
        vm.recordLogs();
        vm.prank(ALICE);
        log.anchor(batch, 0, 0, root, count, list);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2);
        vm.assertEq(logs[0].topics[1], bytes32(uint256(uint160(ALICE))));
        vm.assertEq(logs[0].topics[2], batch);
        vm.assertEq(logs[0].topics[3], 0);
        vm.assertEq(keccak256(logs[0].data), keccak256(abi.encode(bytes32(0), root, count)));
        vm.assertEq(logs[1].topics[1], ref);
        vm.assertEq(keccak256(logs[1].data), keccak256(abi.encode(uint64(0), total)));
    }
}
