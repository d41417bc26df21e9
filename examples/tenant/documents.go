package main

import (
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

// What --json prints where the market's own documents have states as numbers: the
// same, with their names.

type deploymentDocument struct {
	market.Deployment

	State string `json:"state"`
}

type bidDocument struct {
	market.Bid

	State string `json:"state"`
}

type orderDocument struct {
	market.Order

	State string `json:"state"`
}

type balanceDocument struct {
	tenant.Balance

	State string `json:"state"`
}

func documents(list []market.Deployment) []deploymentDocument {
	out := make([]deploymentDocument, len(list))
	for i, d := range list {
		out[i] = deploymentDocument{d, d.State.String()}
	}
	return out
}

func bidDocuments(list []market.Bid) []bidDocument {
	out := make([]bidDocument, len(list))
	for i, b := range list {
		out[i] = bidDocument{b, b.State.String()}
	}
	return out
}

func orderDocuments(list []market.Order) []orderDocument {
	out := make([]orderDocument, len(list))
	for i, o := range list {
		out[i] = orderDocument{o, o.State.String()}
	}
	return out
}
