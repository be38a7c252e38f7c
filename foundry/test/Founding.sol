// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Consortium} from "contracts/Consortium.sol";
import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {vm} from "./Vm.sol";

/// @dev Consortia and profiles for tests.
abstract contract Founding {
    function profileOf(address account) internal pure returns (IConsortium.Profile memory) {
        return IConsortium.Profile(
            IConsortium.Curve.X25519, abi.encode(keccak256(abi.encode(account))), "https://pacs.example/bridge"
        );
    }

    function found(address founder) internal returns (IConsortium) {
        vm.prank(founder);
        return new Consortium(profileOf(founder));
    }

    /// @dev By one member; whether it suffices depends on how many there are.
    function admit(IConsortium consortium, address by, address account) internal returns (uint256 id) {
        vm.prank(by);
        return consortium.proposeAdmission(account, profileOf(account));
    }

    function approve(IConsortium consortium, address by, uint256 id) internal {
        vm.prank(by);
        consortium.approve(id);
    }
}
