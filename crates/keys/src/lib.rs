//! The keys role: workspaces, plans, keys, service keys and usage.
