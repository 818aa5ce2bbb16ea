// SPDX-License-Identifier: Apache-2.0
import java.io.FileInputStream;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** Arguments: root, then HOST PORT pairs. One line each: "HOST accepted" or "HOST refused: why". */
class CaClient {
    public static void main(String[] args) throws Exception {
        KeyStore trust = KeyStore.getInstance(KeyStore.getDefaultType());
        trust.load(null, null);
        try (FileInputStream in = new FileInputStream(args[0])) {
            trust.setCertificateEntry("egret", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(trust);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        for (int i = 1; i + 1 < args.length; i += 2) {
            System.out.println(args[i] + " " + attempt(context, args[i], Integer.parseInt(args[i + 1])));
        }
    }

    private static String attempt(SSLContext context, String host, int port) {
        // As HttpsURLConnection and the HTTP clients do it: the socket is layered, the name is checked.
        try (Socket plain = new Socket("127.0.0.1", port);
             SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, host, port, true)) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            socket.getOutputStream().write(("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n").getBytes());
            String answer = new String(socket.getInputStream().readAllBytes());
            return answer.startsWith("HTTP/1.1 200") ? "accepted" : "broken: " + answer;
        } catch (Exception e) {
            return "refused: " + e.getMessage();
        }
    }
}
