/** What there is of callers: the sessions of the first era, the conversations of the second, who holds what, and how much each may do. */
import type { CallBudgets } from './call-budgets.ts';
import type { Conversations } from './conversations.ts';
import type { Sessions } from './sessions.ts';
import type { Tenants } from './tenants.ts';

export interface Callers {
	readonly sessions: Sessions;
	readonly conversations: Conversations;
	readonly tenants: Tenants;
	readonly budgets: CallBudgets;
}
