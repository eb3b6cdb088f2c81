// Sends a mail by JavaMail, which takes its settings from system properties:
// java -Dmail.smtp.port=… JavaMail.java user password subject text html file to…
import java.io.File;
import java.util.Arrays;
import javax.mail.Address;
import javax.mail.Message;
import javax.mail.MessagingException;
import javax.mail.SendFailedException;
import javax.mail.Session;
import javax.mail.Transport;
import javax.mail.internet.InternetAddress;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import javax.mail.internet.MimeMultipart;

class JavaMail {
    public static void main(String[] told) throws Exception {
        MimeMessage mail = new MimeMessage(Session.getInstance(System.getProperties()));
        mail.setFrom(new InternetAddress("app@acme.test", "Jörg", "UTF-8"));
        for (String address : Arrays.copyOfRange(told, 6, told.length)) {
            mail.addRecipient(Message.RecipientType.TO, new InternetAddress(address));
        }
        mail.addRecipient(Message.RecipientType.BCC, new InternetAddress("secret@there.test"));
        mail.setSubject(told[2], "UTF-8");
        mail.setContent(content(told[3], told[4], new File(told[5])));
        try {
            Transport.send(mail, told[0], told[1]);
            System.out.println("sent");
        } catch (SendFailedException failed) {
            report("sent to", failed.getValidSentAddresses());
            report("refused", failed.getInvalidAddresses());
            for (Exception e = failed; e != null; e = ((MessagingException) e).getNextException()) {
                System.out.println(e.getMessage());
            }
            System.exit(1);
        }
    }

    static MimeMultipart content(String text, String html, File file) throws Exception {
        MimeBodyPart plain = new MimeBodyPart();
        plain.setText(text, "UTF-8");
        MimeBodyPart rich = new MimeBodyPart();
        rich.setText(html, "UTF-8", "html");
        MimeBodyPart body = new MimeBodyPart();
        body.setContent(new MimeMultipart("alternative", plain, rich));
        MimeBodyPart attached = new MimeBodyPart();
        attached.attachFile(file);
        return new MimeMultipart(body, attached);
    }

    static void report(String what, Address[] addresses) {
        System.out.println(what + " " + Arrays.toString(addresses));
    }
}
