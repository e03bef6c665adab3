"""The async shells: AsyncStore and AsyncConversation, with the names of Store and Conversation, awaited.

SQL is written once, for the sync shells. Here each transaction runs whole in a thread of the store's own, and the
model is awaited: no `await` stands between BEGIN and COMMIT, and the event loop never waits for a database. Whoever is
cancelled has his transaction finished and his turn marked before the cancellation goes on.

They run on asyncio and on trio; a store belongs to the event loop in which it was first used.
"""
