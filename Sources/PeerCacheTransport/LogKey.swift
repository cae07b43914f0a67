/// Metadata keys of every log line, so that names are never misspelt.
package enum LogKey: String, Sendable {
    case cluster = "peercache.cluster"
    case peer = "peercache.peer"
    case address = "peercache.address"
    case members = "peercache.members"
    case cache = "peercache.cache"
    case reason = "peercache.reason"
    case incarnation = "peercache.incarnation"
    case error = "peercache.error"
    case loadsRefused = "peercache.loads_refused"
    case loadersRunning = "peercache.loaders_running"
}
