import NIOCore

/// Runs tasks on an event loop. A caller there neither wakes the loop to send nor is moved to another thread to resume: the situation of a
/// server whose handlers run on their event loops.
final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        eventLoop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
