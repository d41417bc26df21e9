package kube

// ParseProduct is parseProduct, for tests.
var ParseProduct = parseProduct
