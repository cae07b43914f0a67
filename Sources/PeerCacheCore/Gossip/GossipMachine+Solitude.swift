/// Why a peer that knows no other may not be meant to be alone.
package enum Solitude: Hashable, Sendable {
    /// Discovery has not answered yet, or addresses that it names have not been tried.
    case searching
    /// Discovery has given no answer in all that time: there may be others.
    case undiscovered
    /// At one of them is a peer that this one does not get on with.
    case foreign(PeerAddress, ForeignReason)
}

extension GossipMachine {
    /// So long a peer counts as searching at most: the addresses may be many, and dead. And so long names must be unknown to be believed.
    static let searchMax = Duration.seconds(10)

    /// Nil: it is not alone, or nobody else is where discovery says. For a peer that has discovery. O(members + addresses).
    package var solitude: Solitude? {
        guard stage == .joined, !members.values.contains(where: { $0.record.id != me.id && $0.status.isPresent }) else { return nil }
        for (address, place) in zip(foreign.keys, foreign.values) where places.contains(address) && isFresh(place) {
            switch place.reason {
            case .cluster, .secret, .clock, .http: return .foreign(address, place.reason)
            // Of a version to come, or an earlier one: a deploy must be able to go on.
            case .version, .settings, .isSelf: break
            }
        }
        let isTried = hasDiscovered && places.values.allSatisfy { $0.isKnown || $0.isTried }
        if isTried { return nil }
        if now - joinedAt < Self.searchMax { return .searching }
        let isNobodyNamed = nameUnknownSince.map { now - $0 >= Self.searchMax } ?? false
        return hasDiscovered || isNobodyNamed ? nil : .undiscovered
    }

    /// It has been dialled again when its rest was over, and answered the same.
    private func isFresh(_ place: ForeignPlace) -> Bool { place.restUntil + (configuration.dialLimit + configuration.dialLimit) > now }
}
