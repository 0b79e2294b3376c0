package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// leewaySeconds is how long the API server goes on accepting a token that has expired.
const leewaySeconds = 60

// printToken signs a token for a ServiceAccount that is accepted for as short a time as asked. The API itself signs none for less than ten
// minutes, and tests of what happens when a token expires cannot wait for that.
func printToken(arguments []string) error {
	flags := flag.NewFlagSet("token", flag.ExitOnError)
	directory := flags.String("directory", "", "of the cluster")
	namespace := flags.String("namespace", "default", "of the ServiceAccount")
	account := flags.String("account", "default", "the ServiceAccount")
	uid := flags.String("uid", "", "its uid")
	seconds := flags.Int64("seconds", leewaySeconds, "how long it is accepted")
	_ = flags.Parse(arguments)

	key, err := keyutil.PrivateKeyFromFile(filepath.Join(*directory, "keys", "service-accounts.key"))
	if err != nil {
		return err
	}
	generator, err := serviceaccount.JWTTokenGenerator(issuer, key)
	if err != nil {
		return err
	}
	owner := core.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: *namespace, Name: *account, UID: types.UID(*uid)}}
	claims, more, err := serviceaccount.Claims(owner, nil, nil, nil, *seconds-leewaySeconds, 0, []string{issuer})
	if err != nil {
		return err
	}
	token, err := generator.GenerateToken(context.Background(), claims, more)
	fmt.Println(token)
	return err
}
