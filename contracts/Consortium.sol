// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IConsortium} from "./interfaces/IConsortium.sol";

/// @title Consortium: {IConsortium}, founded by the account that deploys it
contract Consortium is IConsortium {
    /// One slot and the profile. `term` is new with each membership, so that what was approved in an earlier one does not
    /// count in a later one.
    struct Seat {
        uint64 since;
        uint64 until;
        uint64 term;
        /// Place in `_present`, from 1; 0: not a member.
        uint64 place;
        Profile profile;
    }

    struct Proposal {
        address account;
        bool admission;
        bool done;
        /// The account's when the proposal was made: once that is another, the proposal is over.
        uint64 term;
        Profile profile;
    }

    /// Approvals are counted member by member: this bounds what that costs.
    uint256 private constant MAX_MEMBERS = 256;
    uint256 private constant MAX_ENDPOINT = 512;
    bytes32 private constant NO_KEY = keccak256(abi.encode(0));

    mapping(address account => Seat) private _seats;
    address[] private _present;
    Proposal[] private _proposals;
    /// The member's term when it approved; 0: it did not.
    mapping(uint256 id => mapping(address member => uint64)) private _approvals;
    uint64 private _terms;

    modifier onlyMember() {
        if (!isMember(msg.sender)) revert NotMember(msg.sender);
        _;
    }

    /// @param founder The profile of the first member, which is the sender.
    constructor(Profile memory founder) {
        _check(founder);
        _admit(msg.sender, founder);
    }

    /// @inheritdoc IConsortium
    function proposeAdmission(address account, Profile calldata profile) external onlyMember returns (uint256 id) {
        if (account == address(0)) revert ZeroAddress();
        if (isMember(account)) revert AlreadyMember(account);
        if (_present.length == MAX_MEMBERS) revert TooManyMembers();
        _check(profile);
        id = _propose(account, true);
        _proposals[id].profile = profile;
        _approve(id);
    }

    /// @inheritdoc IConsortium
    function proposeRemoval(address account) external onlyMember returns (uint256 id) {
        if (!isMember(account)) revert NotMember(account);
        id = _propose(account, false);
        _approve(id);
    }

    /// @inheritdoc IConsortium
    function approve(uint256 id) external onlyMember {
        _mustBeOpen(id);
        _approve(id);
    }

    /// @inheritdoc IConsortium
    function revoke(uint256 id) external onlyMember {
        _mustBeOpen(id);
        if (!hasApproved(id, msg.sender)) revert NotApproved(id, msg.sender);
        _approvals[id][msg.sender] = 0;
        emit ApprovalRevoked(id, msg.sender);
    }

    /// @inheritdoc IConsortium
    function changeProfile(Profile calldata profile) external onlyMember {
        _check(profile);
        _seats[msg.sender].profile = profile;
        emit ProfileChanged(msg.sender, profile);
    }

    /// @inheritdoc IConsortium
    function resign() external onlyMember {
        _remove(msg.sender);
    }

    /// @inheritdoc IConsortium
    function isMember(address account) public view returns (bool) {
        return _seats[account].place != 0;
    }

    /// @inheritdoc IConsortium
    function member(address account) external view returns (uint64 since, uint64 until, Profile memory profile) {
        Seat storage seat = _seats[account];
        return (seat.since, seat.until, seat.profile);
    }

    /// @inheritdoc IConsortium
    function members() external view returns (address[] memory) {
        return _present;
    }

    /// @inheritdoc IConsortium
    function threshold() public view returns (uint256) {
        return _present.length / 2 + 1;
    }

    /// @inheritdoc IConsortium
    function proposals() external view returns (uint256) {
        return _proposals.length;
    }

    /// @inheritdoc IConsortium
    function proposal(uint256 id)
        external
        view
        returns (address account, bool admission, bool open, uint256 approvals, Profile memory profile)
    {
        if (id >= _proposals.length) revert UnknownProposal(id);
        Proposal storage asked = _proposals[id];
        return (asked.account, asked.admission, _isOpen(asked), _count(id), asked.profile);
    }

    /// @inheritdoc IConsortium
    function hasApproved(uint256 id, address account) public view returns (bool) {
        Seat storage seat = _seats[account];
        return seat.place != 0 && _approvals[id][account] == seat.term;
    }

    /// @inheritdoc IConsortium
    function maxMembers() external pure returns (uint256) {
        return MAX_MEMBERS;
    }

    /// @inheritdoc IConsortium
    function maxEndpoint() external pure returns (uint256) {
        return MAX_ENDPOINT;
    }

    function _propose(address account, bool admission) private returns (uint256 id) {
        id = _proposals.length;
        Proposal storage made = _proposals.push();
        made.account = account;
        made.admission = admission;
        made.term = _seats[account].term;
        emit Proposed(id, account, msg.sender, admission);
    }

    function _approve(uint256 id) private {
        bool again = hasApproved(id, msg.sender);
        if (!again) _approvals[id][msg.sender] = _seats[msg.sender].term;
        uint256 approvals = _count(id);
        uint256 needed = threshold();
        if (again && approvals < needed) revert AlreadyApproved(id, msg.sender);
        emit Approved(id, msg.sender, approvals, needed);
        if (approvals < needed) return;
        Proposal storage asked = _proposals[id];
        asked.done = true;
        if (asked.admission) _admit(asked.account, asked.profile);
        else _remove(asked.account);
    }

    function _admit(address account, Profile memory profile) private {
        if (_present.length == MAX_MEMBERS) revert TooManyMembers();
        _present.push(account);
        uint64 term = ++_terms;
        Seat storage seat = _seats[account];
        seat.since = uint64(block.timestamp);
        seat.until = 0;
        seat.term = term;
        seat.place = uint64(_present.length);
        seat.profile = profile;
        emit MemberAdmitted(account, term, profile);
    }

    function _remove(address account) private {
        if (_present.length == 1) revert LastMember();
        Seat storage seat = _seats[account];
        address last = _present[_present.length - 1];
        _present[seat.place - 1] = last;
        _seats[last].place = seat.place;
        _present.pop();
        seat.place = 0;
        seat.until = uint64(block.timestamp);
        emit MemberRemoved(account, seat.term);
    }

    function _mustBeOpen(uint256 id) private view {
        if (id >= _proposals.length) revert UnknownProposal(id);
        if (!_isOpen(_proposals[id])) revert ProposalIsOver(id);
    }

    function _isOpen(Proposal storage asked) private view returns (bool) {
        Seat storage seat = _seats[asked.account];
        return !asked.done && seat.term == asked.term && (seat.place == 0) == asked.admission;
    }

    /// @dev Only members that are present count, and only what they approved in their present membership.
    function _count(uint256 id) private view returns (uint256 approvals) {
        uint256 present = _present.length;
        for (uint256 i = 0; i < present; i++) {
            if (hasApproved(id, _present[i])) approvals++;
        }
    }

    function _check(Profile memory profile) private pure {
        bytes memory key = profile.encryptionKey;
        bool valid = profile.curve == Curve.X25519
            ? key.length == 32 && keccak256(key) != NO_KEY
            : key.length == 33 && (key[0] == 0x02 || key[0] == 0x03);
        if (!valid) revert InvalidKey(profile.curve, key.length);
        if (bytes(profile.endpoint).length > MAX_ENDPOINT) revert EndpointTooLong(bytes(profile.endpoint).length);
    }
}
