// Where each schedule of `CONTRACT.md` §13 is tested. Names begin with its number; "shell": with sockets, in `PeerCacheTests`.
//
// I1, I3, I4, I7, I19, I24, I31   StampInterleavingTests
// I2     HybridLogicalClockTests (a clock beyond the offset is not merged); the refusal is the shell's
// I5, I6, I8 a, I9, I10, I26, I35   FloorInterleavingTests
// I8 b   shell: HandOverTests.aRemovalDuringTheTransferStays
// I11, I12, I14   LeaseInterleavingTests
// I13    not detectable without source versions, as the contract says
// I15, I16, I17, I33, I34, I37   SuccessionInterleavingTests
// I18    SimulatedReplicasTests (deploys that wait) and VoterMachine.silentCount; readiness itself is the shell's
// I20    SimulatedReplicasTests (leaves under writes)
// I21, I27, I36, I38, I41   PageInterleavingTests; I41 with loads: ByteStoreWriteTests.aClearedCacheMissesAtOnceAndIsSweptLater and shell
// I22    cannot be written: answers name a position in the list of voters; those of others have none
// I23    GossipMergeTests, GossipProtocolTests
// I25, I40   shell: NearStoreTests
// I28    ByteStorePolicyTests.tombstonesAboveTheirShareAreCollectedOldestFirst, aFloodOfRemovalsDoesNotPushOutValues
// I29    shell: LoadLeaseTests, WriteErrorTests; LoadCoalescerTests.cancellingOneWaiterLeavesTheOthers
// I30    shell: answers carry an id of their connection (RequestTable)
// I32    LoadCoalescerTests.missAfterAChangeStartsItsOwnLoad
// I39    shell: the queue of copies ends with its connection
//
// Mistakes without a number: FloorInterleavingTests (keepOldOnRefusedStore, countsForgottenAcks), SuccessionInterleavingTests
// (sealQuorumIsR, nonVotersSpeak, forgetsSuccessors).
