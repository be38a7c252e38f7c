// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {AnchorLog} from "contracts/AnchorLog.sol";
import {IAnchorLog} from "contracts/interfaces/IAnchorLog.sol";
import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {Founding} from "./Founding.sol";
import {vm} from "./Vm.sol";

/// @dev Eight accounts propose, approve, take back, leave and anchor, whether they may or not; the books say what must be.
contract ConsortiumHandler is Founding {
    IConsortium public immutable consortium;
    AnchorLog public immutable log;

    address[] public accounts;
    mapping(address => bool) public present;
    uint256 public count = 1;
    mapping(address => uint64) public sequences;
    mapping(address => bytes32) public roots;
    bytes32[] internal batches;
    uint256 public byStrangers;

    constructor() {
        for (uint160 i = 1; i <= 8; i++) {
            accounts.push(address(i * 0x1111));
        }
        consortium = found(accounts[0]);
        log = new AnchorLog(consortium);
        present[accounts[0]] = true;
    }

    function pick(uint256 seed) internal view returns (address) {
        return accounts[seed % accounts.length];
    }

    function state() internal view returns (bytes32) {
        address[] memory list = consortium.members();
        bytes32 sum = keccak256(abi.encode(list, consortium.proposals()));
        for (uint256 i = 0; i < consortium.proposals(); i++) {
            (,, bool open, uint256 approvals,) = consortium.proposal(i);
            sum = keccak256(abi.encode(sum, open, approvals));
        }
        return sum;
    }

    /// @dev Approvals that count, by asking account by account.
    function approvalsOf(uint256 id) internal view returns (uint256 sum) {
        for (uint256 i = 0; i < accounts.length; i++) {
            if (present[accounts[i]] && consortium.hasApproved(id, accounts[i])) sum++;
        }
    }

    /// @dev Calls as `sender`, and looks at who came and went: one at most, and only with more than half of those present.
    function act(address sender, uint256 id, bytes memory call) internal returns (bool done) {
        bytes32 before = state();
        uint256 needed = count / 2 + 1;
        bool resigns = keccak256(call) == keccak256(abi.encodeCall(IConsortium.resign, ()));
        vm.prank(sender);
        (done,) = address(consortium).call(call);
        if (!present[sender]) {
            vm.assertTrue(!done && state() == before);
            byStrangers++;
            return done;
        }
        uint256 changes = 0;
        // Before the books change, so that approvals of those who were present are counted.
        uint256 approvals = resigns ? 0 : approvalsOf(id);
        for (uint256 i = 0; i < accounts.length; i++) {
            address account = accounts[i];
            bool now_ = consortium.isMember(account);
            if (now_ == present[account]) continue;
            changes++;
            // The approval of who was removed just now no longer counts: it was one at most.
            if (!resigns) vm.assertTrue(approvals + (now_ ? 0 : 1) >= needed);
            else vm.assertTrue(account == sender && !now_);
            present[account] = now_;
            count = now_ ? count + 1 : count - 1;
        }
        vm.assertTrue(changes <= 1 && count >= 1);
    }

    function proposeAdmission(uint256 by, uint256 whom) external {
        IConsortium.Profile memory profile = profileOf(pick(whom));
        act(pick(by), consortium.proposals(), abi.encodeCall(IConsortium.proposeAdmission, (pick(whom), profile)));
    }

    function proposeRemoval(uint256 by, uint256 whom) external {
        act(pick(by), consortium.proposals(), abi.encodeCall(IConsortium.proposeRemoval, (pick(whom))));
    }

    /// @dev Mostly one of the last proposals, so that they are carried out.
    function approve(uint256 by, uint256 back) external {
        uint256 last = consortium.proposals();
        if (last == 0) return;
        uint256 id = last - 1 - back % (last > 3 ? 3 : last);
        act(pick(by), id, abi.encodeCall(IConsortium.approve, (id)));
    }

    function revoke(uint256 by, uint256 id) external {
        uint256 last = consortium.proposals();
        if (last == 0) return;
        act(pick(by), id % last, abi.encodeCall(IConsortium.revoke, (id % last)));
    }

    function resign(uint256 by) external {
        // Not too often, or nobody is left to vote.
        if (by % 4 == 0) act(pick(by / 4), 0, abi.encodeCall(IConsortium.resign, ()));
    }

    function anchor(uint256 by, bytes32 root) external {
        address sender = pick(by);
        if (root == 0) return;
        IAnchorLog.Study[] memory list = new IAnchorLog.Study[](1);
        list[0] = IAnchorLog.Study(root, 1);
        bytes32 batch = keccak256(abi.encode(sender, sequences[sender]));
        vm.prank(sender);
        (bool done,) = address(log)
            .call(abi.encodeCall(IAnchorLog.anchor, (batch, sequences[sender], roots[sender], root, 1, list)));
        vm.assertTrue(done == present[sender]);
        if (!done) return;
        sequences[sender] += 1;
        roots[sender] = root;
    }

    function number() external view returns (uint256) {
        return accounts.length;
    }
}

contract ConsortiumInvariant {
    ConsortiumHandler internal handler;

    function setUp() public {
        handler = new ConsortiumHandler();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    function invariant_membersAreThoseThatWereVotedIn() public view {
        IConsortium consortium = handler.consortium();
        address[] memory members = consortium.members();
        vm.assertEq(members.length, handler.count());
        for (uint256 i = 0; i < members.length; i++) {
            vm.assertTrue(handler.present(members[i]) && consortium.isMember(members[i]));
            (uint64 since, uint64 until,) = consortium.member(members[i]);
            vm.assertTrue(since != 0 && until == 0);
            for (uint256 j = 0; j < i; j++) {
                vm.assertTrue(members[i] != members[j]);
            }
        }
        vm.assertTrue(members.length >= 1);
    }

    /// @dev Whatever the members do among themselves, what was anchored stays as it was, without a gap.
    function invariant_headsOutliveMemberships() public view {
        for (uint256 i = 0; i < handler.number(); i++) {
            address account = handler.accounts(i);
            (bytes32 root, uint64 sequence,) = handler.log().head(account);
            vm.assertEq(root, handler.roots(account));
            vm.assertEq(sequence, handler.sequences(account));
            for (uint64 j = 0; j < sequence; j++) {
                (uint64 mined, uint64 place) = handler.log().anchorOf(account, keccak256(abi.encode(account, j)));
                vm.assertTrue(mined != 0 && place == j);
            }
        }
    }
}
