// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title The members of a consortium of institutions
/// @notice Who belongs to the consortium, how to reach them and which key to encrypt for them with. Members come and go by
/// the votes of more than half of the members that are present. There is no owner: nobody can admit, remove or change a
/// member alone, but that a member may change its own profile, and leave.
/// @dev There is no pause and no upgrade. Past profiles and members stay readable in the events.
interface IConsortium {
    /// @notice The curve of an encryption key.
    /// @dev X25519: 32 bytes (RFC 7748). P256: a compressed point of 33 bytes (SEC 1).
    enum Curve {
        X25519,
        P256
    }

    /// @notice How others reach a member.
    /// @param curve The curve of `encryptionKey`.
    /// @param encryptionKey The public key that others encrypt for the member with.
    /// @param endpoint URL of the member's bridge, at most 512 bytes; empty where it is not to be reached.
    struct Profile {
        Curve curve;
        bytes encryptionKey;
        string endpoint;
    }

    /// @notice A member was admitted.
    /// @param term Tells this membership from an earlier one of the same account.
    event MemberAdmitted(address indexed account, uint64 indexed term, Profile profile);

    /// @notice A member was removed, or left.
    /// @param term The membership that ended.
    event MemberRemoved(address indexed account, uint64 indexed term);

    /// @notice A member changed its profile: a new key, a new endpoint.
    event ProfileChanged(address indexed account, Profile profile);

    /// @notice A member asks for another to be admitted or removed; its own approval is the first.
    event Proposed(uint256 indexed id, address indexed account, address indexed proposer, bool admission);

    /// @notice A member approves a proposal.
    /// @param approvals Of members that are present, this one included.
    /// @param needed What {threshold} is now.
    event Approved(uint256 indexed id, address indexed member, uint256 approvals, uint256 needed);

    /// @notice A member takes its approval back.
    event ApprovalRevoked(uint256 indexed id, address indexed member);

    /// @notice The account is not a member.
    error NotMember(address account);

    /// @notice The account is a member already.
    error AlreadyMember(address account);

    /// @notice The zero address cannot be a member.
    error ZeroAddress();

    /// @notice The key has not the form that its curve has.
    error InvalidKey(Curve curve, uint256 length);

    /// @notice An endpoint has at most {maxEndpoint} bytes.
    error EndpointTooLong(uint256 length);

    /// @notice The consortium is full.
    error TooManyMembers();

    /// @notice Somebody must stay.
    error LastMember();

    /// @notice There is no such proposal.
    error UnknownProposal(uint256 id);

    /// @notice The proposal was carried out, or the account came or went since it was made.
    error ProposalIsOver(uint256 id);

    /// @notice The member has approved the proposal, and that does not suffice yet.
    error AlreadyApproved(uint256 id, address member);

    /// @notice The member has not approved the proposal.
    error NotApproved(uint256 id, address member);

    /// @notice Proposes to admit `account`, and approves it. It is admitted at once where that suffices.
    /// @dev Reverts with {NotMember}, {ZeroAddress}, {AlreadyMember}, {InvalidKey}, {EndpointTooLong} or {TooManyMembers}.
    /// @param profile The new member's; it may change it itself once it is one.
    /// @return id The proposal's number.
    function proposeAdmission(address account, Profile calldata profile) external returns (uint256 id);

    /// @notice Proposes to remove a member, and approves it. It is removed at once where that suffices.
    /// @dev Reverts with {NotMember} or {LastMember}.
    /// @return id The proposal's number.
    function proposeRemoval(address account) external returns (uint256 id);

    /// @notice Approves a proposal, and carries it out where that suffices. A member that has approved may call again when
    /// fewer approvals are needed, because others have gone.
    /// @dev Reverts with {NotMember}, {UnknownProposal}, {ProposalIsOver}, {AlreadyApproved}, {LastMember} or
    /// {TooManyMembers}.
    function approve(uint256 id) external;

    /// @notice Takes the sender's approval back.
    /// @dev Reverts with {NotMember}, {UnknownProposal}, {ProposalIsOver} or {NotApproved}.
    function revoke(uint256 id) external;

    /// @notice Changes the sender's profile: this is how keys are rotated.
    /// @dev Reverts with {NotMember}, {InvalidKey} or {EndpointTooLong}.
    function changeProfile(Profile calldata profile) external;

    /// @notice Ends the sender's membership.
    /// @dev Reverts with {NotMember} or {LastMember}.
    function resign() external;

    /// @notice Whether `account` is a member now.
    function isMember(address account) external view returns (bool);

    /// @notice What is known of an account that is or was a member.
    /// @return since When its last membership began: seconds since 1970, zero where it never was one.
    /// @return until When that ended; zero while it lasts.
    /// @return profile The last one.
    function member(address account) external view returns (uint64 since, uint64 until, Profile memory profile);

    /// @notice The members that are present, in no order.
    function members() external view returns (address[] memory);

    /// @notice Approvals that a proposal needs: more than half of the members that are present.
    function threshold() external view returns (uint256);

    /// @notice Proposals made so far; their numbers are those below it.
    function proposals() external view returns (uint256);

    /// @notice A proposal.
    /// @dev Reverts with {UnknownProposal}.
    /// @return account Whom it is about.
    /// @return admission Whether to admit; else to remove.
    /// @return open Whether it can still be carried out.
    /// @return approvals Of members that are present.
    /// @return profile Of an admission.
    function proposal(uint256 id)
        external
        view
        returns (address account, bool admission, bool open, uint256 approvals, Profile memory profile);

    /// @notice Whether the approval of `account` counts for a proposal.
    function hasApproved(uint256 id, address account) external view returns (bool);

    /// @notice Members that there can be at one time.
    function maxMembers() external pure returns (uint256);

    /// @notice Bytes that an endpoint can have.
    function maxEndpoint() external pure returns (uint256);
}
