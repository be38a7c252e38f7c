// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title The log of anchors of a consortium of institutions
/// @notice An institution closes batches of instances. For each batch it writes one anchor here: the digest of the
/// batch's record, the Merkle root over its instances, and how many instances of each study are anchored so far. Anchors
/// of one institution form a chain without gaps or forks. Nothing here names a patient: a study appears under a
/// reference that only a holder of the study's key can derive.
/// @dev There is no owner, no pause and no way to change or remove what was written.
interface IAnchorLog {
    /// @notice What a batch says about one study.
    /// @param studyReference The study's reference.
    /// @param total Instances of the study that the institution has anchored, up to and including this batch. A reader who
    /// is shown fewer knows that something is withheld.
    struct Study {
        bytes32 studyReference;
        uint64 total;
    }

    /// @notice A batch was anchored.
    /// @param institution The member that anchored it.
    /// @param batch SHA-256 of the batch's record block, which is the digest in the record's CID.
    /// @param sequence The batch's place among the institution's batches, from 0.
    /// @param previousRoot Merkle root of the institution's batch before; zero for the first.
    /// @param merkleRoot RFC 9162 tree hash over the batch's instances.
    /// @param count Leaves in the tree. An inclusion proof must be checked against it.
    event Anchored(
        address indexed institution,
        bytes32 indexed batch,
        uint64 indexed sequence,
        bytes32 previousRoot,
        bytes32 merkleRoot,
        uint32 count
    );

    /// @notice A batch holds instances of a study; one event per study, after the batch's {Anchored}.
    /// @param studyReference The study's reference.
    /// @param institution The member that anchored the batch.
    /// @param sequence The batch's sequence.
    /// @param total See {Study}.
    event StudyAnchored(bytes32 indexed studyReference, address indexed institution, uint64 sequence, uint64 total);

    /// @notice The sender is not a member.
    error NotMember(address sender);

    /// @notice The batch is not the one that comes next.
    /// @param expected What {head} gives as the next sequence.
    error OutOfSequence(uint64 expected, uint64 given);

    /// @notice The batch does not follow the institution's last batch.
    /// @param expected What {head} gives as the last root.
    error PreviousRootMismatch(bytes32 expected, bytes32 given);

    /// @notice The institution has anchored this batch before, in block `blockNumber`.
    error AlreadyAnchored(bytes32 batch, uint64 blockNumber);

    /// @notice A batch without leaves, or without a root.
    error EmptyBatch();

    /// @notice A batch of `count` instances cannot be of that many studies.
    error StudyCountOutOfRange(uint256 studies, uint32 count);

    /// @notice A study is named of which no instance would be anchored.
    error EmptyStudy(bytes32 studyReference);

    /// @notice There is no contract at the address that was given as the consortium.
    error NoConsortium(address given);

    /// @notice Anchors a batch of the sender's.
    /// @dev Reverts with {NotMember}, {EmptyBatch}, {StudyCountOutOfRange}, {OutOfSequence}, {PreviousRootMismatch},
    /// {AlreadyAnchored} or {EmptyStudy}. Parameters as in {Anchored}.
    /// @param studies The studies that the batch's instances belong to, at least one, each once.
    function anchor(
        bytes32 batch,
        uint64 sequence,
        bytes32 previousRoot,
        bytes32 merkleRoot,
        uint32 count,
        Study[] calldata studies
    ) external;

    /// @notice Where an institution's chain of anchors ends.
    /// @return root Merkle root of its last batch; zero where there is none.
    /// @return sequence The sequence that its next batch must have.
    /// @return instances Instances anchored in all its batches.
    function head(address institution) external view returns (bytes32 root, uint64 sequence, uint64 instances);

    /// @notice Where an institution's batch was anchored, so that its events are found in one block.
    /// @return blockNumber The block; zero where the batch is not anchored.
    /// @return sequence The batch's sequence.
    function anchorOf(address institution, bytes32 batch) external view returns (uint64 blockNumber, uint64 sequence);

    /// @notice Whether `account` may anchor: whether it is a member of {consortium} now.
    function isMember(address account) external view returns (bool);

    /// @notice The consortium whose members may anchor; an {IConsortium}. It never changes.
    function consortium() external view returns (address);
}
