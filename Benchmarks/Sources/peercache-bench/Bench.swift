import ArgumentParser

/// The command. One subcommand per question; each has a folder of its own and prints ``Measurement``s.
@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peercache-bench",
        abstract: "Measures PeerCache, side by side with its peers, in the same run.",
        discussion: "Only ratios taken in one run count: subject and baseline take turns, and the median of the pair ratios is reported.",
        subcommands: [
            ClusterCommand.self, LoadCommand.self,
            NearCommand.self, StoreCommand.self, RpcCommand.self, ManyCommand.self, ValuesCommand.self, ThreeCommand.self,
            CopiesCommand.self, SizeCommand.self, MemoryCommand.self, ExpiryCommand.self, HitRatioCommand.self, GossipCommand.self,
            ReplicasCommand.self, MembersCommand.self, DeployCommand.self, ResultsCommand.self,
            // Children of those.
            MemoryPartCommand.self, RpcPeerCommand.self, MemberCommand.self, DeployPeerCommand.self,
        ])
}
