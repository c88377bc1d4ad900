// Says what came of a request: status, bytes of the body, and whether it broke off.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	request, err := http.NewRequest("POST", os.Getenv("BASE_URL")+"/v1/chat/completions", strings.NewReader(os.Getenv("BODY")))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		fmt.Println("no answer")
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, len(body), err != nil)
}
