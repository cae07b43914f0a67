import Foundation

/// Memory of a process that is really there.
enum ResidentMemory {
    /// Bytes, exact, by walking the process's pages: slow for large ones. 0 where the system does not tell.
    static func exact(_ process: String = "self") -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(process)/smaps_rollup", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("Rss:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }

    /// Bytes of this process, as the kernel last added them up: quick, some hundred KiB off.
    static var quick: Int {
        let fields = ((try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? "").split(separator: " ")
        return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
