// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Consortium} from "contracts/Consortium.sol";
import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {Founding} from "./Founding.sol";
import {vm} from "./Vm.sol";

contract ConsortiumTest is Founding {
    address internal constant A = address(0xA);
    address internal constant B = address(0xB);
    address internal constant C = address(0xC);
    address internal constant D = address(0xD);
    address internal constant E = address(0xE);

    IConsortium internal consortium;

    /// @dev A, B and C.
    function setUp() public {
        consortium = found(A);
        admit(consortium, A, B);
        approve(consortium, B, admit(consortium, A, C));
    }

    function refuse(address sender, bytes memory reason) internal {
        vm.prank(sender);
        vm.expectRevert(reason);
    }

    function because(bytes4 selector, address account) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, account);
    }

    function because(bytes4 selector, uint256 id) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, id);
    }

    function removal(address by, address account) internal returns (uint256) {
        vm.prank(by);
        return consortium.proposeRemoval(account);
    }

    function isOpen(uint256 id) internal view returns (bool open) {
        (,, open,,) = consortium.proposal(id);
    }

    function approvals(uint256 id) internal view returns (uint256 count) {
        (,,, count,) = consortium.proposal(id);
    }

    function test_theFounderIsTheFirstMember() public {
        vm.warp(1234);
        IConsortium alone = found(D);
        vm.assertTrue(alone.isMember(D));
        vm.assertFalse(alone.isMember(A));
        vm.assertEq(alone.members().length, 1);
        vm.assertEq(alone.members()[0], D);
        vm.assertEq(alone.threshold(), 1);
        (uint64 since, uint64 until, IConsortium.Profile memory profile) = alone.member(D);
        vm.assertEq(since, 1234);
        vm.assertEq(until, 0);
        vm.assertEq(keccak256(abi.encode(profile)), keccak256(abi.encode(profileOf(D))));
    }

    function test_moreThanHalfDecide() public {
        vm.assertEq(consortium.threshold(), 2);
        uint256 id = admit(consortium, A, D);
        vm.assertFalse(consortium.isMember(D));
        vm.assertTrue(consortium.hasApproved(id, A));
        vm.assertFalse(consortium.hasApproved(id, B));
        (address account, bool admission, bool open, uint256 count, IConsortium.Profile memory profile) =
            consortium.proposal(id);
        vm.assertEq(account, D);
        vm.assertTrue(admission);
        vm.assertTrue(open);
        vm.assertEq(count, 1);
        vm.assertEq(profile.endpoint, "https://pacs.example/bridge");
        vm.expectEmit(address(consortium));
        emit IConsortium.Approved(id, C, 2, 2);
        vm.expectEmit(address(consortium));
        emit IConsortium.MemberAdmitted(D, 4, profileOf(D));
        approve(consortium, C, id);
        vm.assertTrue(consortium.isMember(D));
        vm.assertFalse(isOpen(id));
        vm.assertEq(consortium.threshold(), 3);
        refuse(B, because(IConsortium.ProposalIsOver.selector, id));
        consortium.approve(id);
    }

    function test_nobodyIsRemovedByOneAlone() public {
        uint256 id = removal(A, B);
        vm.assertTrue(consortium.isMember(B));
        vm.warp(block.timestamp + 100);
        vm.expectEmit(address(consortium));
        emit IConsortium.Approved(id, C, 2, 2);
        vm.expectEmit(address(consortium));
        emit IConsortium.MemberRemoved(B, 2);
        approve(consortium, C, id);
        vm.assertFalse(consortium.isMember(B));
        (, uint64 until,) = consortium.member(B);
        vm.assertEq(until, block.timestamp);
        vm.assertEq(consortium.members().length, 2);
        // Of two, both must agree.
        id = removal(A, C);
        vm.assertTrue(consortium.isMember(C));
        approve(consortium, C, id);
        vm.assertFalse(consortium.isMember(C));
        refuse(A, abi.encodeWithSelector(IConsortium.LastMember.selector));
        consortium.proposeRemoval(A);
        refuse(A, abi.encodeWithSelector(IConsortium.LastMember.selector));
        consortium.resign();
    }

    function test_anApprovalCountsOnceAndCanBeTakenBack() public {
        approve(consortium, B, admit(consortium, A, D));
        uint256 id = admit(consortium, A, E);
        refuse(A, abi.encodeWithSelector(IConsortium.AlreadyApproved.selector, id, A));
        consortium.approve(id);
        approve(consortium, B, id);
        vm.assertEq(approvals(id), 2);
        vm.assertTrue(consortium.hasApproved(id, A));
        // Whoever was never a member has approved of nothing.
        vm.assertFalse(consortium.hasApproved(id, E));
        vm.expectEmit(address(consortium));
        emit IConsortium.ApprovalRevoked(id, A);
        vm.prank(A);
        consortium.revoke(id);
        refuse(A, abi.encodeWithSelector(IConsortium.NotApproved.selector, id, A));
        consortium.revoke(id);
        approve(consortium, C, id);
        vm.assertFalse(consortium.isMember(E));
        approve(consortium, D, id);
        vm.assertTrue(consortium.isMember(E));
    }

    function test_whoHasGoneHasNoVote() public {
        approve(consortium, B, admit(consortium, A, D));
        // Four members, three are needed.
        uint256 id = admit(consortium, C, E);
        approve(consortium, B, id);
        vm.prank(C);
        consortium.resign();
        vm.assertEq(approvals(id), 1);
        approve(consortium, A, id);
        vm.assertTrue(consortium.isMember(E));
        // An approval of an earlier membership does not come back with the member.
        approve(consortium, E, removal(B, D));
        vm.assertTrue(consortium.isMember(D));
        id = removal(B, A);
        vm.prank(B);
        consortium.resign();
        approve(consortium, E, admit(consortium, D, B));
        vm.assertTrue(consortium.isMember(B));
        (, uint64 until,) = consortium.member(B);
        vm.assertEq(until, 0);
        vm.assertFalse(consortium.hasApproved(id, B));
        vm.assertEq(approvals(id), 0);
    }

    function test_fewerApprovalsSufficeWhereMembersHaveGone() public {
        approve(consortium, B, admit(consortium, A, D));
        uint256 id = admit(consortium, A, E);
        approve(consortium, B, id);
        vm.prank(C);
        consortium.resign();
        vm.assertFalse(consortium.isMember(E));
        approve(consortium, A, id);
        vm.assertTrue(consortium.isMember(E));
    }

    function test_aProposalIsOverWhenItsAccountCameOrWent() public {
        uint256 twice = admit(consortium, A, D);
        approve(consortium, B, admit(consortium, A, D));
        vm.assertFalse(isOpen(twice));
        uint256 remove = removal(A, D);
        vm.prank(D);
        consortium.resign();
        vm.assertFalse(isOpen(remove));
        vm.assertFalse(isOpen(twice));
        refuse(B, because(IConsortium.ProposalIsOver.selector, twice));
        consortium.approve(twice);
        refuse(A, because(IConsortium.ProposalIsOver.selector, remove));
        consortium.revoke(remove);
        approve(consortium, B, admit(consortium, A, D));
        vm.assertTrue(consortium.isMember(D));
        vm.assertFalse(isOpen(remove));
    }

    function test_aMemberChangesItsOwnProfileOnly() public {
        IConsortium.Profile memory next = IConsortium.Profile(
            IConsortium.Curve.P256, abi.encodePacked(hex"02", keccak256("point")), "https://elsewhere.example"
        );
        vm.expectEmit(address(consortium));
        emit IConsortium.ProfileChanged(B, next);
        vm.prank(B);
        consortium.changeProfile(next);
        (uint64 since,, IConsortium.Profile memory profile) = consortium.member(B);
        vm.assertEq(keccak256(abi.encode(profile)), keccak256(abi.encode(next)));
        vm.assertTrue(since != 0);
        (,, profile) = consortium.member(A);
        vm.assertEq(keccak256(abi.encode(profile)), keccak256(abi.encode(profileOf(A))));
    }

    function test_keysHaveTheFormOfTheirCurve(bytes calldata key, bool p256) public {
        IConsortium.Curve curve = p256 ? IConsortium.Curve.P256 : IConsortium.Curve.X25519;
        bool valid =
            p256 ? key.length == 33 && (key[0] == 0x02 || key[0] == 0x03) : key.length == 32 && bytes32(key) != 0;
        if (!valid) {
            vm.expectRevert(abi.encodeWithSelector(IConsortium.InvalidKey.selector, curve, key.length));
        }
        vm.prank(A);
        consortium.changeProfile(IConsortium.Profile(curve, key, ""));
    }

    function test_keysOfEachFormAreTaken(bytes32 x, bool odd) public {
        vm.assume(x != 0);
        vm.prank(A);
        consortium.changeProfile(IConsortium.Profile(IConsortium.Curve.X25519, abi.encodePacked(x), ""));
        bytes memory point = abi.encodePacked(odd ? bytes1(0x03) : bytes1(0x02), x);
        vm.prank(A);
        consortium.changeProfile(IConsortium.Profile(IConsortium.Curve.P256, point, ""));
        point[0] = 0x04;
        refuse(A, abi.encodeWithSelector(IConsortium.InvalidKey.selector, IConsortium.Curve.P256, 33));
        consortium.changeProfile(IConsortium.Profile(IConsortium.Curve.P256, point, ""));
        refuse(A, abi.encodeWithSelector(IConsortium.InvalidKey.selector, IConsortium.Curve.X25519, 32));
        consortium.changeProfile(IConsortium.Profile(IConsortium.Curve.X25519, new bytes(32), ""));
    }

    function test_whatCannotBeAMemberIsNotProposed() public {
        IConsortium.Profile memory profile = profileOf(D);
        refuse(A, abi.encodeWithSelector(IConsortium.ZeroAddress.selector));
        consortium.proposeAdmission(address(0), profile);
        refuse(A, because(IConsortium.AlreadyMember.selector, B));
        consortium.proposeAdmission(B, profile);
        refuse(A, because(IConsortium.NotMember.selector, D));
        consortium.proposeRemoval(D);
        profile.endpoint = string(new bytes(consortium.maxEndpoint() + 1));
        refuse(A, because(IConsortium.EndpointTooLong.selector, consortium.maxEndpoint() + 1));
        consortium.proposeAdmission(D, profile);
        profile.encryptionKey = "";
        vm.expectRevert(abi.encodeWithSelector(IConsortium.InvalidKey.selector, IConsortium.Curve.X25519, 0));
        new Consortium(profile);
        uint256 next = consortium.proposals();
        refuse(A, because(IConsortium.UnknownProposal.selector, next));
        consortium.approve(next);
        refuse(A, because(IConsortium.UnknownProposal.selector, next));
        consortium.revoke(next);
        vm.expectRevert(because(IConsortium.UnknownProposal.selector, next));
        consortium.proposal(next);
    }

    function test_strangersChangeNothing(address stranger) public {
        vm.assume(!consortium.isMember(stranger));
        uint256 id = admit(consortium, A, D);
        vm.assume(stranger != D);
        bytes memory reason = because(IConsortium.NotMember.selector, stranger);
        refuse(stranger, reason);
        consortium.proposeAdmission(stranger, profileOf(stranger));
        refuse(stranger, reason);
        consortium.proposeRemoval(A);
        refuse(stranger, reason);
        consortium.approve(id);
        refuse(stranger, reason);
        consortium.revoke(id);
        refuse(stranger, reason);
        consortium.changeProfile(profileOf(stranger));
        refuse(stranger, reason);
        consortium.resign();
        vm.assertEq(consortium.members().length, 3);
        vm.assertEq(approvals(id), 1);
    }

    function test_asManyMustAgreeAsMakeMoreThanHalf(uint8 number) public {
        IConsortium crowd = found(A);
        for (uint160 i = 1; i <= number % 12; i++) {
            address account = address(0x1000 + i);
            uint256 id = admit(crowd, A, account);
            uint256 needed = 1;
            for (; !crowd.isMember(account); needed++) {
                approve(crowd, address(uint160(0x1000 + needed)), id);
            }
            vm.assertEq(needed, i / 2 + 1);
            vm.assertEq(crowd.members().length, i + 1);
        }
    }

    function test_aFullConsortiumTakesNobody() public {
        uint256 open = admit(consortium, A, E);
        // The second slot is the length of the list of members; all of them are A, so that it alone can decide.
        vm.store(address(consortium), bytes32(uint256(1)), bytes32(consortium.maxMembers()));
        for (uint256 i = 0; i < consortium.maxMembers(); i++) {
            bytes32 slot = bytes32(uint256(keccak256(abi.encode(uint256(1)))) + i);
            vm.store(address(consortium), slot, bytes32(uint256(uint160(A))));
        }
        vm.assertEq(consortium.members().length, 256);
        refuse(A, abi.encodeWithSelector(IConsortium.TooManyMembers.selector));
        consortium.proposeAdmission(D, profileOf(D));
        refuse(A, abi.encodeWithSelector(IConsortium.TooManyMembers.selector));
        consortium.approve(open);
    }
}
