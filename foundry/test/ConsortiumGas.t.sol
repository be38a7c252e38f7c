// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IConsortium} from "contracts/interfaces/IConsortium.sol";
import {Founding} from "./Founding.sol";
import {vm} from "./Vm.sol";

/// @dev What whole transactions cost; the snapshot is committed and compared.
contract ConsortiumGas is Founding {
    function test_votes() public {
        address first = address(0xA11CE);
        IConsortium consortium = found(first);
        admit(consortium, first, address(0x1001));
        vm.snapshotGasLastCall("Consortium", "admit, alone");
        for (uint160 i = 2; i < 24; i++) {
            uint256 id = admit(consortium, first, address(0x1000 + i));
            for (uint160 j = 1; !consortium.isMember(address(0x1000 + i)); j++) {
                approve(consortium, address(0x1000 + j), id);
                vm.snapshotGasLastCall("Consortium", "the last approval of twelve that admit one");
            }
        }
        vm.prank(first);
        consortium.changeProfile(profileOf(address(0xB0B)));
        vm.snapshotGasLastCall("Consortium", "change the profile");
        vm.prank(first);
        consortium.resign();
        vm.snapshotGasLastCall("Consortium", "resign");
    }
}
