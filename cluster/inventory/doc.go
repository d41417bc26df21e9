// Package inventory accounts for what a cluster has and what it has promised:
// nodes, capacity, reservations, placement. It is pure: values in, values out.
package inventory
