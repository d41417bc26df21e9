package keeper_test

import "github.com/cosmos/cosmos-sdk/types/query"

// badPages returns page requests that are refused.
func badPages() map[string]*query.PageRequest {
	return map[string]*query.PageRequest{
		"offset":  {Offset: 1},
		"count":   {CountTotal: true},
		"reverse": {Reverse: true},
		"limit":   {Limit: 1001},
		"key":     {Key: []byte("no token")},
	}
}
