/** The levels of `notifications/message`, least severe first (RFC 5424). */
export const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** How severe a level is; -1 for what is none. */
export function severityOf(level: unknown): number {
	return (LOG_LEVELS as readonly unknown[]).indexOf(level);
}
