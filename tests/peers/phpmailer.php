<?php
// Sends a mail by PHPMailer:
// php phpmailer.php '{"settings": {"Port": …}, "ca_file", "subject", "text", "html", "files", "to"}'
declare(strict_types=1);

use PHPMailer\PHPMailer\Exception;
use PHPMailer\PHPMailer\PHPMailer;

require 'libphp-phpmailer/autoload.php';

$told = json_decode($argv[1], true, 16, JSON_THROW_ON_ERROR);
$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->SMTPDebug = 2;
$mail->Debugoutput = fn ($line) => print(trim($line) . "\n");
$mail->Host = 'localhost';
$mail->SMTPAuth = true;
$mail->SMTPOptions = ['ssl' => ['cafile' => $told['ca_file']]];
foreach ($told['settings'] as $name => $value) {
    $mail->$name = $value;
}
$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom('app@acme.test', 'Jörg');
foreach ($told['to'] as $address) {
    $mail->addAddress($address);
}
$mail->addBCC('secret@there.test');
$mail->Subject = $told['subject'];
$mail->isHTML(true);
$mail->Body = $told['html'];
$mail->AltBody = $told['text'];
foreach ($told['files'] as $path) {
    $mail->addAttachment($path);
}
try {
    $mail->send();
} catch (Exception $error) {
    print("failed: {$error->errorMessage()}\n");
    exit(1);
}
