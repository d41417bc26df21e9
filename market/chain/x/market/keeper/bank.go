package keeper

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// bank moves the money of one block between accounts and the module account.
type bank struct {
	ctx    context.Context //nolint:containedctx // the bank lives as long as the call
	config Config
}

// Take implements machine.Bank.
func (b bank) Take(from market.Address, c market.Coin) error {
	account, err := b.account(from)
	if err != nil {
		return err
	}
	err = b.config.Bank.SendCoinsFromAccountToModule(b.ctx, account, ModuleName, coins(c))
	if errors.Is(err, sdkerrors.ErrInsufficientFunds) {
		return fmt.Errorf("market: %s has less than %s: %w", from, c, market.ErrInsufficientFunds)
	}
	return err
}

// Give implements machine.Bank. Money that the bank refuses to hand to its
// owner, an account that may receive nothing, goes the way of fees.
func (b bank) Give(to market.Address, c market.Coin) error {
	account, err := b.account(to)
	if err != nil {
		return err
	}
	err = b.config.Bank.SendCoinsFromModuleToAccount(b.ctx, ModuleName, account, coins(c))
	if errors.Is(err, sdkerrors.ErrUnauthorized) {
		return b.config.Bank.SendCoinsFromModuleToModule(b.ctx, ModuleName, b.config.FeeCollector, coins(c))
	}
	return err
}

// Fee implements machine.Bank.
func (b bank) Fee(c market.Coin) error {
	return b.config.Bank.SendCoinsFromModuleToModule(b.ctx, ModuleName, b.config.FeeCollector, coins(c))
}

func (b bank) account(a market.Address) (sdk.AccAddress, error) {
	raw, err := b.config.Addresses.StringToBytes(string(a))
	if err != nil {
		return nil, market.Refuse(market.ErrInvalid, "address", "%s", err)
	}
	return raw, nil
}

func coins(c market.Coin) sdk.Coins { return sdk.Coins{marketpb.FromCoin(c)} }
